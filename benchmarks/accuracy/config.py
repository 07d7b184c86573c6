"""What to evaluate and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from zoo.errors import UsageError

DEFAULT_DATASET = "coco_2017"

# A model's task -> what a dataset is evaluated for.
TASK_MEASURES = {
    "object detection": "box",
    "instance segmentation": "mask",
    "keypoint detection": "keypoint",
    "panoptic segmentation": "panoptic",
    "region proposal": "proposal",
}
MEASURES = tuple(TASK_MEASURES.values())


@dataclass(frozen=True)
class EvalConfig:
    """What to evaluate and how; None stands for what the model was published for.

    data: the dataset's folder. measures: some of MEASURES. limit: the first images only. device, batch_size and
    workers: as in `accuracy.measure`. results_json: where to write the detections in COCO's format. metric_backend:
    what computes COCO's numbers. present_classes: where the dataset has some of the model's classes only, evaluate
    these. detail: an empty or new folder for what is behind the numbers. tta: test-time augmentation. title: the
    name in the record, in place of the model's. runtime: what runs the network. pythons: peer -> interpreter of the
    environment that has it.
    """

    data: Path | None = None
    dataset: str | None = None
    split: str | None = None
    checkpoint: Path | None = None
    measures: tuple[str, ...] | None = None
    protocol: str | None = None
    metric_backend: str = "auto"
    device: str = "cpu"
    batch_size: int = 1
    workers: int = 0
    limit: int | None = None
    results_json: Path | None = None
    present_classes: bool = False
    tta: bool = False
    detail: Path | None = None
    title: str | None = None
    runtime: str | None = None
    pythons: Mapping[str, str] = field(default_factory=dict)


def parse_measures(listed: str) -> tuple[str, ...]:
    """The parts of a comma-separated list, all of them in MEASURES."""
    names = tuple(name.strip() for name in listed.split(","))
    unknown = [name for name in names if name not in MEASURES]
    if unknown:
        raise UsageError(f"nothing measures '{unknown[0]}': there are {', '.join(MEASURES)}.")
    return names
