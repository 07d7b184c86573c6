"""From a file of detections, of whatever detector, to a record of their accuracy."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

from benchmarks.accuracy.config import DEFAULT_DATASET, EvalConfig
from benchmarks.accuracy.uncertainty import uncertainty
from benchmarks.datasets.catalog import open_dataset, spec
from benchmarks.datasets.dataset import Dataset
from benchmarks.datasets.request import MetricConfig
from benchmarks.datasets.results_file import Scored, evaluate_file
from benchmarks.datasets.spec import Spec
from benchmarks.results.record import Record
from zoo.errors import UsageError, ZooError


def evaluate(path: Path, config: EvalConfig) -> Record:
    """The accuracy of the detections in `path`, which are in COCO's results format. Raises ZooError.

    Images without a detection count as such.
    """
    if not path.is_file():
        raise ZooError(f"{path} does not exist, or is not a file.")
    chosen = spec(config.dataset or DEFAULT_DATASET)
    request = request_of(config, chosen)
    opened = open_dataset(chosen.name, Path(config.data or chosen.root), request)
    scored = evaluated(path, config, opened, request)
    sure = uncertainty(scored.metrics, scored.resampled)
    nothing = [] if scored.detections else [f"{path} has no detection in any of the images."]
    from benchmarks.system import environment  # imports torch

    images = len(opened.images[: config.limit])
    return Record(
        model=config.title or path.stem,
        kind="accuracy",
        protocol=request.protocol if chosen.protocols else chosen.reader.partition(":")[0],
        parameters=describe(config, chosen, request)
        | {"images": images, "all_images": chosen.all_images(config.split, len(opened.images))}
        | {"weights": "predictions", "predictions": path.name, "sha256": sha256(path.read_bytes()).hexdigest()}
        | {"notices": [*opened.notices, *nothing, *sure.notices]}
        | sure.parameters,
        metrics=scored.metrics,
        conditions=sure.conditions,
        samples=sure.samples,
        environment=environment.describe("cpu"),
    )


def evaluated(path: Path, config: EvalConfig, opened: Dataset, request: MetricConfig) -> Scored:
    """The numbers of the file, and the folder that explains them where one is asked for."""
    if config.detail is None:
        return evaluate_file(opened, path, request, config.limit)
    from benchmarks.accuracy import detail  # imports torch

    coco = detail.check(config.detail, opened, request.measures)
    scored = evaluate_file(opened, path, request, config.limit)
    numbers = [coco.numbers[i] for i in coco.kept[: config.limit]]
    detail.write(config.detail, coco, coco.read_results(path).source, numbers, config.title or path.stem)
    return scored


def request_of(config: EvalConfig, chosen: Spec) -> MetricConfig:
    """What to ask of a dataset. Raises UsageError."""
    measures = config.measures or chosen.measures[:1]
    if config.protocol is not None and not chosen.protocols:
        raise UsageError(f"--protocol says how to read COCO's numbers; {chosen.name} has a metric of its own.")
    return MetricConfig(
        measures=measures,
        protocol=config.protocol or ("mmdet-v2" if "proposal" in measures else "coco"),
        metric_backend=config.metric_backend,
        split=config.split,
        present_classes=config.present_classes,
        predictions=True,
    )


def describe(config: EvalConfig, chosen: Spec, request: MetricConfig) -> dict[str, Any]:
    """What was chosen, as a record's parameters."""
    return {
        "dataset": chosen.name,
        "split": config.split or chosen.split,
        "limit": config.limit,
        "measures": list(request.measures),
        "metric": chosen.metric,
        "metric_backend": config.metric_backend,
    }
