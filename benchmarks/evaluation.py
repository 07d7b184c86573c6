"""From a model's name to a record of its accuracy, with everything chosen as it was published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zoo
from benchmarks import accuracy, environment, subjects
from benchmarks.datasets import Request, open_dataset
from benchmarks.datasets.catalog import Spec, spec
from benchmarks.record import Record
from benchmarks.subjects import Subject
from zoo.errors import UnknownModel, UsageError, ZooError
from zoo.models.detectors.base import Detector

DEFAULT_DATASET = "coco_2017"
CHECKPOINT_SUFFIXES = (".pth", ".pt", ".pkl", ".safetensors")

# A model's task -> what a data set is evaluated for.
TASK_MEASURES = {
    "object detection": "box",
    "instance segmentation": "mask",
    "panoptic segmentation": "panoptic",
    "region proposal": "proposal",
}
MEASURES = tuple(TASK_MEASURES.values())


@dataclass(frozen=True)
class Plan:
    """What to evaluate and how; None stands for what the model was published for.

    data: the data set's folder. measures: some of MEASURES. limit: the first pictures only. device, batch_size and
    workers: as in `accuracy.measure`. results_json: where to write the detections in COCO's format.
    """

    data: Path | None = None
    dataset: str | None = None
    split: str | None = None
    checkpoint: Path | None = None
    measures: tuple[str, ...] | None = None
    protocol: str | None = None
    engine: str = "auto"
    device: str = "cpu"
    batch_size: int = 1
    workers: int = 0
    limit: int | None = None
    results_json: Path | None = None


def evaluate(name: str, plan: Plan | None = None, progress: bool | None = None) -> Record | None:
    """The accuracy of `name`, a model of the zoo or a checkpoint file; None on other ranks than 0 under torchrun.

    Raises ZooError for whatever is missing or does not fit, before anything is written.
    """
    plan = plan or Plan()
    check_output(plan.results_json)
    subject, entry = choose(name, plan.checkpoint)
    chosen = spec(plan.dataset or (entry.dataset if entry else DEFAULT_DATASET))
    root = Path(plan.data or chosen.root)
    chosen.require_root(root)  # before a large file is loaded
    model = subject.load().to(plan.device).eval()
    request = request_of(plan, model, entry, chosen)
    opened = open_dataset(chosen.name, root, request)
    result = accuracy.measure(
        model,
        opened,
        device=plan.device,
        batch_size=plan.batch_size,
        workers=plan.workers,
        limit=plan.limit,
        progress=progress,
    )
    if result is None:
        return None
    if plan.results_json is not None:
        accuracy.write_results(opened, result.found, plan.results_json)
    parameters = describe(plan, chosen, request, result) | {"weights": subject.weights}
    return Record(
        model=subject.name,
        kind="accuracy",
        protocol=request.protocol,
        parameters=parameters,
        metrics=result.metrics,
        environment=environment.describe(plan.device),
        checkpoint=subject.facts.get("checkpoint"),
        manifest=subject.facts.get("manifest"),
    )


def choose(name: str, checkpoint: Path | None) -> tuple[Subject, zoo.Entry | None]:
    """The network and what is known about it; no entry for a file without a name."""
    if checkpoint is None and Path(name).suffix in CHECKPOINT_SUFFIXES:
        return subjects.of_file(existing(Path(name)), None), None
    if checkpoint is not None:
        return subjects.of_file(existing(checkpoint), name), find(name)
    subject = subjects.by_name(name)
    if subject.weights == "random":
        raise UsageError(f"{subject.name} has no published weights: give yours with --checkpoint.")
    return subject, find(name)


def find(name: str) -> zoo.Entry | None:
    """The entry of a model; None for the name of an architecture."""
    from zoo.manifest import architecture_names

    try:
        return zoo.get(name)
    except UnknownModel:
        if name in architecture_names():
            return None
        raise


def existing(path: Path) -> Path:
    """`path`, which must be a file."""
    if not path.is_file():
        raise ZooError(f"{path} does not exist.")
    return path


def request_of(plan: Plan, model: Detector, entry: zoo.Entry | None, chosen: Spec) -> Request:
    """What to ask of the data set: what the model's tasks say, without an entry what its heads are good for."""
    published = [TASK_MEASURES[task] for task in entry.tasks if task in TASK_MEASURES] if entry else guess(model)
    measures = plan.measures or tuple(m for m in published if m in chosen.measures)
    names = getattr(model, "classes", None)
    classes = tuple(names) if names and measures != ("proposal",) else None
    # Recall at 1000 proposals, which is what is published, exists in MMDetection's reading only.
    protocol = plan.protocol or ("mmdet-v2" if "proposal" in measures else "coco")
    return Request(classes, measures, protocol, plan.engine, plan.split)


def guess(model: Detector) -> list[str]:
    """What a network without an entry can be evaluated for, by its heads."""
    names = {name.split(".")[-1] for name, _ in model.named_modules()}
    if "rpn_head" in names and "roi_head" not in names:
        return ["proposal"]
    return ["box", "mask"] if "mask_head" in names else ["box"]


def describe(plan: Plan, chosen: Spec, request: Request, result: accuracy.Accuracy) -> dict[str, Any]:
    """Everything that was chosen, as a record's parameters."""
    return {
        "dataset": chosen.name,
        "split": plan.split or chosen.split,
        "pictures": result.pictures,
        "limit": plan.limit,
        "measures": list(request.measures),
        "metric": chosen.metric,
        "engine": plan.engine,
        "batch": plan.batch_size,
        "device": plan.device,
    }


def comparison(record: Record) -> list[dict[str, Any]]:
    """Published beside measured, for a model of the zoo with its published weights."""
    if record.parameters["weights"] != "published" or record.parameters["limit"] is not None:
        return []
    published = published_for(zoo.get(record.model).metrics, spec(record.parameters["dataset"]))
    return accuracy.compare(published, record.metrics)


def published_for(metrics: Mapping[str, Mapping[str, float]], chosen: Spec) -> Mapping[str, float]:
    """The published numbers on a data set's usual split (test-dev, say, is another set of pictures)."""
    return metrics.get(chosen.published, {})


def check_output(path: Path | None) -> None:
    """Complain before the work rather than after it."""
    if path is not None and not path.absolute().parent.is_dir():
        raise UsageError(f"{path.absolute().parent} is not a folder, {path.name} cannot be written there.")


def parse_measures(listed: str) -> Sequence[str]:
    """The parts of a comma-separated list, all of them in MEASURES."""
    names = tuple(name.strip() for name in listed.split(","))
    unknown = [name for name in names if name not in MEASURES]
    if unknown:
        raise UsageError(f"nothing measures '{unknown[0]}': there are {', '.join(MEASURES)}.")
    return names
