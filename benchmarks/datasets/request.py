"""What an evaluation asks of a dataset, whichever it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

PROTOCOLS = ("coco", "mmdet-v2")
METRIC_BACKENDS = ("auto", "pycocotools", "hotcoco")

# Ids of images as datasets have them: COCO's numbers, names of files, whatever a tool writes.
ImageId = int | float | str


class DatasetImage(NamedTuple):
    """One image to run a model on. id: the dataset's own, by which results are gathered."""

    id: ImageId
    path: Path


@dataclass(frozen=True)
class MetricConfig:
    """How to read and to evaluate.

    classes: the model's class names by label, or None where they are unknown. outputs: how many labels it has, where
    that is known. present_classes: evaluate the classes that the annotations have, where they lack some.
    measures: which of box, mask, keypoint, proposal and panoptic are evaluated.
    protocol: how COCO's numbers are read, one of PROTOCOLS. metric_backend: what computes them.
    split: which part of the dataset; None is the one that results are published for.
    predictions: whether a file has the detections, so that the images themselves are not needed.
    """

    classes: tuple[str, ...] | None = None
    measures: tuple[str, ...] = ("box",)
    protocol: str = "coco"
    metric_backend: str = "auto"
    split: str | None = None
    outputs: int | None = None
    present_classes: bool = False
    predictions: bool = False
