"""Trains every architecture for a step: which ones can, in how much processor time and memory.

    python -m benchmarks.perf.trainable NAME ... | --all [--steps 1] [--out reports/trainable.csv] [--json]

Each architecture runs as published (its widths, depths and heads), from random weights, on two generated images of at
most 128, or 320, pixels a side (images resized to a fixed size keep it, those padded to one are padded to 256), through
the trainer: dataset, augmentation, collation, losses, backward and optimizer. Samplers draw at most 64 anchors or
regions from an image, so that a step costs little. Its process is a copy of one that has imported everything.

`cpu_s` is processor time of the last step, number `step`, on images whose longer side is `side` with their padding,
`memory_mb` the most resident memory of the process, `parameters` how many numbers learn, and `without_gradient` how
many tensors of them the losses do not reach. Rows that the output file has already are kept, so that a stopped run goes
on. Exit status 1 if an architecture fails.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from math import isfinite
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import numpy as np
import torch
from torch import Tensor

import zoo
from benchmarks.datasets import demo
from benchmarks.reports.text_table import format_table
from benchmarks.system.memory import resident_peak_mib
from zoo.manifest import api
from zoo.models.component_table import COMPONENTS
from zoo.models.detectors.distilled import Distilled
from zoo.models.supervision import components, supervision
from zoo.preprocessing.recipe import Pad, Preprocessing, Resize
from zoo.system.atomic_write import atomic_write
from zoo.training import distributed, initial_weights, recipe
from zoo.training.augmentation.annotated_image import AnnotatedImage
from zoo.training.coco_folder import CocoFolder
from zoo.training.config import TrainConfig
from zoo.training.dataset import Prepared, TrainingSet
from zoo.training.image_folder import ImageFolder
from zoo.training.layout import find
from zoo.training.log import Step
from zoo.training.recipe import Recipe
from zoo.training.sampler import Key
from zoo.training.trainer import Trainer
from zoo.training.views import UnlabeledSet

LARGEST, MANY = 128, 320  # pixels; MANY where the encoder must have at least 900 positions
SAMPLES = 64
PADDED = 256  # pixels: what images are padded to where a network pads all of them to one size
FIELDS = ("architecture", "status", "cpu_s", "memory_mb", "parameters", "without_gradient", "loss", "step", "side")
Row = dict[str, Any]


class Folder(CocoFolder):
    """The generated dataset, with whatever a network learns from. stuff: number of classes of pixels."""

    stuff: int | None = None

    def __getitem__(self, index: int) -> AnnotatedImage:
        """An image; its semantic map has bands of all classes, in blocks."""
        image = super().__getitem__(index)
        if self.stuff is None:
            return image
        y, x = np.mgrid[: image.size[0], : image.size[1]]
        return replace(image, semantic=((y // 16 + x // 16) % self.stuff).astype(np.uint8))


class WithProposals(TrainingSet):
    """Images with proposals around their objects, for Fast R-CNN."""

    def __getitem__(self, key: Any) -> Prepared:
        sample = super().__getitem__(key)
        noise = torch.from_numpy(np.random.RandomState(0).uniform(-8, 8, (20, *sample.target["boxes"].shape)))
        return sample._replace(target={**sample.target, "proposals": proposals(sample.target["boxes"], noise)})


def proposals(boxes: Tensor, noise: Tensor) -> Tensor:
    """Boxes (K, 4) moved by noise (N, K, 4): those of the N * K that have an area."""
    moved = (boxes + noise.to(boxes)).flatten(0, 1).clamp(min=0)
    return moved[((moved[:, 2:] - moved[:, :2]) > 1).all(dim=1)]


class Watched(Trainer):
    """A trainer that counts, in its first step, the tensors that should learn and get no gradient."""

    without_gradient: int | None = None

    def update(self) -> None:
        """Let the optimizer take its step."""
        if self.without_gradient is None:
            learning = (p for p in self.network.parameters() if p.requires_grad)
            self.without_gradient = sum(p.grad is None for p in learning)
        super().update()


def trainer(
    name: str, data: Path, out: Path, description: Mapping[str, Any] | None = None, settings: Recipe | None = None
) -> Watched:
    """A trainer of an architecture on small images, from random weights. description: in place of the published one.

    data: of `demo.write`.
    """
    chosen: dict[str, Any] = few_samples(dict(description or api.architecture(name)))
    needed, annotations, images = supervision(chosen), *find(data)
    folder = Folder(annotations, images, needed.masks)
    folder.stuff = needed.semantic
    settings = settings or plain(recipe.default(chosen, api.representative(name).training))
    kind = WithProposals if needed.proposals else TrainingSet
    dataset = kind(folder, small(api.preprocessing(name), side(chosen)), settings.augmentation, 0, settings.epochs)
    config = TrainConfig(name, annotations, images, out, start="scratch", log_every=1)
    before = len(api.dataset(api.representative(name).dataset).classes)
    if before == 1:  # CrowdDet's head knows one class only
        folder.classes, folder.labels = folder.classes[:1], dict.fromkeys(folder.labels, 0)
    own = initial_weights.with_classes(chosen, before, len(folder.classes))
    unlabeled = UnlabeledSet(ImageFolder(images), dataset.recipe, settings.augmentation) if needed.unlabeled else None
    run = Watched(config, distributed.join(), own, dataset, settings, unlabeled)
    if isinstance(run.network, Distilled) and run.network.teacher_name:
        teacher = initial_weights.with_classes(api.architecture(run.network.teacher_name), before, len(folder.classes))
        run.network.teach(zoo.build(teacher))
    run.prepare()
    return run


def few_samples(value: Any) -> Any:
    """A description whose samplers draw at most SAMPLES anchors or regions from an image."""
    if isinstance(value, list):
        return [few_samples(part) for part in value]
    if not isinstance(value, Mapping):
        return value
    whole = {key: few_samples(part) for key, part in value.items()}
    sampler = whole.get("sampler")
    if isinstance(sampler, dict) and "num" in sampler:
        whole["sampler"] = {**sampler, "num": min(sampler["num"], SAMPLES)}
    return whole


def plain(settings: Recipe) -> Recipe:
    """The recipe for a few steps: no warm-up, images put together from the first to the last, and no large ones."""
    return replace(settings, epochs=1, warmup=0, augmentation=replace(settings.augmentation, plain_epochs=0, scales=()))


def side(description: Mapping[str, Any]) -> int:
    """The longest side of images for a network."""
    return (
        MANY if any(part.get("num_queries", 0) >= 900 for part in [description, *components(description)]) else LARGEST
    )


def small(steps: Preprocessing, longest: int) -> Preprocessing:
    """The preprocessing with images of at most so many pixels a side, where their size is not fixed."""
    return replace(steps, steps=tuple(reduced(step, longest) for step in steps.steps))


def reduced(step: Any, longest: int) -> Any:
    """A step of a smaller size."""
    if isinstance(step, Pad) and step.size is not None:
        most = max(PADDED, longest)
        return replace(step, size=(min(step.size[0], most), min(step.size[1], most)))
    if not isinstance(step, Resize) or step.scale is None or not step.keep_ratio:
        return step
    factor = longest / max(step.scale)
    return replace(step, scale=(round(step.scale[0] * factor), round(step.scale[1] * factor)))


def measure(name: str, data: Path, steps: int) -> Row:
    """The row of one architecture."""
    row: Row = {"architecture": name}
    try:
        run = trainer(name, data, data)
        taken = list(timed(run, steps))
        learning = [p for p in run.network.parameters() if p.requires_grad]
        row |= {
            "cpu_s": round(taken[-1][0], 2),
            "parameters": sum(p.numel() for p in learning),
            "without_gradient": run.without_gradient,
            "loss": round(taken[-1][1].losses["loss"], 4),
            "step": steps,
            "side": max(run.data[Key(0, 0)].image.shape),
        }
        row["status"] = "ok" if isfinite(row["loss"]) else "failed: the loss is not finite"
    except Exception as error:  # a table of all architectures goes on
        row["status"] = f"failed: {type(error).__name__}: {str(error).splitlines()[0]:.150}"
    row["memory_mb"] = int(resident_peak_mib())
    return row


def timed(run: Trainer, count: int) -> Iterator[tuple[float, Step]]:
    """Steps with the processor seconds that each one took, which a busy machine disturbs least."""
    steps = run.steps()
    for _ in range(count):
        begun = time.process_time()
        step = next(steps)
        yield time.process_time() - begun, step


def rows(names: list[str], data: Path, steps: int) -> Iterator[Row]:
    """One row after the other, each from a fresh copy of this process."""
    for target in COMPONENTS.values():
        resolve_name(f"zoo.models.{target}")
    context = multiprocessing.get_context("fork")
    for name in names:
        with ProcessPoolExecutor(1, context) as pool:
            try:
                yield pool.submit(measure, name, data, steps).result()
            except BrokenProcessPool:
                yield {"architecture": name, "status": "failed: its process was killed, as for want of memory"}


def kept(path: Path | None) -> list[Row]:
    """The rows that a file has already."""
    if path is None or not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write(path: Path, table: list[Row]) -> None:
    """The rows as CSV, by name."""
    lines = [",".join(FIELDS)]
    lines += [",".join(quoted(row.get(field, "")) for field in FIELDS) for row in sorted(table, key=by_name)]
    atomic_write(path, "\n".join(lines) + "\n")


def quoted(value: Any) -> str:
    """A cell."""
    text = str(value)
    return '"' + text.replace('"', "'") + '"' if "," in text or '"' in text else text


def by_name(row: Row) -> str:
    """Rows stand in this order."""
    return str(row["architecture"])


def architectures() -> list[str]:
    """Every architecture that a model has."""
    return sorted({entry.architecture for entry in map(zoo.get, zoo.list_models()) if entry.architecture})


def main() -> int:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", help="architectures")
    parser.add_argument("--all", action="store_true", help="every architecture")
    parser.add_argument("--steps", type=int, default=1, help="optimizer steps (%(default)s)")
    parser.add_argument("--out", type=Path, help="CSV file to go on with")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    names = architectures() if args.all else args.names
    table = kept(args.out)
    done = {row["architecture"] for row in table}
    with tempfile.TemporaryDirectory() as folder:
        data = demo.write(folder, {"train": 4})
        for row in rows([name for name in names if name not in done], data, args.steps):
            print(f"{row['architecture']}: {row['status']}", file=sys.stderr, flush=True)
            table.append(row)
            if args.out is not None:
                write(args.out, table)
    wanted = [row for row in table if row["architecture"] in names]
    print(json.dumps(wanted, indent=1) if args.json else format_table(wanted))
    return int(any(row["status"] != "ok" for row in wanted))


if __name__ == "__main__":
    sys.exit(main())
