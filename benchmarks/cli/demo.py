"""The whole way in one call: make images, fetch detectors, measure accuracy, speed and memory, draw, report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from torch import Tensor
from torch.nn.functional import interpolate

import zoo
from benchmarks.accuracy import accuracy as evaluation
from benchmarks.datasets import demo as shapes
from benchmarks.reports import html, markdown, measured, training_logs
from benchmarks.results.record import Record
from benchmarks.results.store import Store
from benchmarks.speed import inference, targets
from benchmarks.speed.config import BenchmarkConfig
from benchmarks.speed.options import Options
from zoo.errors import ZooError
from zoo.models.detectors.base import Detector
from zoo.preprocessing.preprocess import read_image
from zoo.structures import Detections
from zoo.visualization import draw as visualize

FAMILY = "demo"
# Shorter than the protocol's definition asks for, and the records say so: a demonstration should take a minute or two.
QUICK = {"min_iterations": 16, "min_seconds": 3.0, "max_seconds": 30.0, "warmup_seconds": 10.0}
# With `fast`: one model, a few calls, no page of the whole zoo; to see whether an installation works.
FAST_MODEL, FASTEST = "demo_yolox", {"min_iterations": 4, "min_seconds": 0.0, "max_seconds": 5.0, "warmup_seconds": 1.0}
TIMED, DRAWN, ENLARGED = 16, 6, 3
REPORTS = ("report.md", "report.html")


class Outcome(NamedTuple):
    """records: of accuracy, speed and training, per model. different: a sentence per number that is not as stated."""

    records: list[Record]
    different: list[str]


def run(folder: Path, device: str = "cpu", fast: bool = False) -> Outcome:
    """Write the dataset, drawings, `results.db`, `report.md` and `report.html` into `folder`.

    fast: one model in a few seconds, and no HTML page. Raises FetchError where a checkpoint is not what the manifest
    says, UsageError without the plotting library, which the page needs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    splits = {"val": shapes.SPLITS["val"]} if fast else None
    data, store = shapes.write(folder / "data", splits), Store(folder / "results.db")
    photos = sorted((data / "val").glob("*.png"))
    drawings: dict[str, list[Path]] = {}
    records: list[Record] = []
    for name in [FAST_MODEL] if fast else zoo.list_models(family=FAMILY):
        zoo.fetch(name)
        measured_now = measure(name, data, photos[:TIMED], device, fast)
        records += [store.append(record) for record in (*measured_now, training(name))]
        drawings[name] = draw(name, photos[:DRAWN], folder / "images" / name)
    report(folder, records, drawings, fast)
    return Outcome(records, [line for record in records for line in differences(record)])


def measure(name: str, data: Path, photos: Sequence[Path], device: str, fast: bool = False) -> list[Record]:
    """Accuracy on all of the dataset; speed and memory, plain and, unless `fast`, with batch norm folded in."""
    accuracy = evaluation.evaluate(name, evaluation.EvalConfig(data=data, device=device))
    target, source = targets.by_name(name), {"weights": "published", "images": f"{len(photos)} generated"}
    plain = BenchmarkConfig(device=device, overrides=FASTEST if fast else QUICK)
    settings = (plain,) if fast else (plain, replace(plain, options=Options(fuse_conv_bn=True)))
    speeds = [inference.measure(target.load(), name, photos, one, source, **target.facts) for one in settings]
    return [*([accuracy] if accuracy else []), *speeds]


def training(name: str) -> Record:
    """How the model was trained: its log, which lies beside its checkpoint."""
    checkpoint = zoo.get(name).checkpoint
    if checkpoint is None or checkpoint.file is None:
        raise ZooError(f"{name} does not come with this package.")
    return training_logs.record(training_logs.read(checkpoint.file.with_name(f"{name}.log.json"), name))


def differences(record: Record) -> list[str]:
    """What differs from the manifest, to the decimals that it states."""
    if record.kind != "accuracy":
        return []
    return [
        f"{record.model}: {row['metric']} is {row['measured']:.2f}, not {row['published']} as stated."
        for row in evaluation.comparison(record)
        if round(row["measured"], 1) != row["published"]
    ]


def draw(name: str, photos: Sequence[Path], folder: Path) -> list[Path]:
    """Draw what a model finds; the images are small, so the drawings are enlarged. Returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    model = zoo.load(name)
    for photo in photos:
        visualize.save(drawing(model, photo), folder / photo.name)
    return [folder / photo.name for photo in photos]


def drawing(model: Detector, photo: Path) -> np.ndarray:
    """One image with its detections."""
    image = read_image(photo)
    large = np.asarray(cv2.resize(image, None, fx=ENLARGED, fy=ENLARGED, interpolation=cv2.INTER_CUBIC), np.uint8)
    return visualize.draw(large, enlarged(model.detect([image])[0]), model.classes, score_thr=0.4)


def enlarged(detections: Detections) -> Detections:
    """The same detections in an image of ENLARGED times the size."""
    masks: Tensor | None = None
    if detections.masks is not None:
        masks = interpolate(detections.masks[None].float(), scale_factor=ENLARGED, mode="bilinear")[0] > 0.5
    return replace(detections, boxes=detections.boxes * ENLARGED, masks=masks)


def report(folder: Path, records: Sequence[Record], drawings: dict[str, list[Path]], fast: bool = False) -> None:
    """The report as Markdown and, unless `fast`, as a page of the whole zoo with these measurements in it."""
    markdown.write(markdown.render(measured.tables(records), "Demonstration"), folder / REPORTS[0])
    if not fast:
        entries = [zoo.get(name) for name in zoo.list_models()]
        markdown.write(html.render(entries, records, drawings), folder / REPORTS[1])
