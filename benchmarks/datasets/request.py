"""What an evaluation asks of a dataset, whichever it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

PROTOCOLS = ("coco", "mmdet-v2")
ENGINES = ("auto", "pycocotools", "hotcoco")


class DatasetImage(NamedTuple):
    """One image to run a model on. id: the dataset's own, by which results are gathered."""

    id: int | str
    path: Path


@dataclass(frozen=True)
class MetricConfig:
    """How to read and to evaluate.

    classes: the model's class names by label, or None where only their order is known.
    measures: which of box, mask, proposal and panoptic the model can be evaluated for.
    protocol: how COCO's numbers are read, one of PROTOCOLS. engine: what computes them, one of ENGINES.
    split: which part of the dataset; None is the one that results are published for.
    """

    classes: tuple[str, ...] | None = None
    measures: tuple[str, ...] = ("box",)
    protocol: str = "coco"
    engine: str = "auto"
    split: str | None = None
