"""What is wrong with each detection of an image, and what is missing: TIDE's kinds, image by image, for drawings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

SCORE = 0.3  # detections with lower scores are no errors that anybody sees
NEAR, FAR = 0.5, 0.1  # IoU from which a detection is of an object, and from which it is near one
KINDS = ("true", "class", "localization", "both", "duplicate", "background", "missed")


@dataclass(frozen=True)
class Marked:
    """A box of an image. box: xywh. category: number. kind: one of KINDS; "object" in the ground truth."""

    box: tuple[float, ...]
    category: int
    kind: str
    score: float | None = None


@dataclass(frozen=True)
class ImageErrors:
    """number: of the image. objects, detections: its boxes; missed objects stand among the detections too."""

    number: int
    objects: list[Marked]
    detections: list[Marked]

    @property
    def count(self) -> int:
        """How many errors there are."""
        return sum(one.kind != "true" for one in self.detections)


def errors(number: int, annotations: Sequence[Mapping[str, Any]], table: NDArray[np.float64]) -> ImageErrors:
    """The errors in one image. table: (K, 7) number of the image, xywh, score, number of the class."""
    objects = [Marked(tuple(row["bbox"]), row["category_id"], "object") for row in annotations if not row["iscrowd"]]
    crowds = [row for row in annotations if row["iscrowd"]]
    shown = table[table[:, 5] >= SCORE]
    shown = shown[np.argsort(-shown[:, 5], kind="stable")]
    shown = shown[~in_crowds(shown, crowds)]
    kinds, taken = kinds_of(shown, objects)
    detections = [Marked(tuple(row[1:5]), int(row[6]), kind, float(row[5])) for row, kind in zip(shown.tolist(), kinds)]
    missed = [Marked(one.box, one.category, "missed") for one, seen in zip(objects, taken) if not seen]
    return ImageErrors(number, objects, [*detections, *missed])


def in_crowds(table: NDArray[np.float64], crowds: Sequence[Mapping[str, Any]]) -> NDArray[np.bool_]:
    """Detections of a crowd, which count for nothing."""
    if not crowds or not len(table):
        return np.zeros(len(table), bool)
    shared = overlaps(table, [row["bbox"] for row in crowds], True)
    same = table[:, 6][:, None] == np.array([row["category_id"] for row in crowds])[None]
    return np.asarray((shared * same >= NEAR).any(1))


def overlaps(table: NDArray[np.float64], boxes: Sequence[Any], crowd: bool = False) -> NDArray[np.float64]:
    """(K, M) IoU; over the detection's own area for crowds."""
    if not len(table) or not len(boxes):
        return np.zeros((len(table), len(boxes)))
    first, second = np.ascontiguousarray(table[:, 1:5]), np.array(boxes, np.float64).reshape(-1, 4)
    return np.asarray(coco_mask.iou(first, second, [int(crowd)] * len(second)))


def kinds_of(table: NDArray[np.float64], objects: Sequence[Marked]) -> tuple[list[str], NDArray[np.bool_]]:
    """The kind of each detection, best first, and which objects have a true one."""
    shared = overlaps(table, [one.box for one in objects])
    same = table[:, 6][:, None] == np.array([one.category for one in objects])[None]
    taken, kinds = np.zeros(len(objects), bool), []
    for own, labeled in zip(shared, same):
        free = np.where(labeled & ~taken, own, 0.0)
        if len(own) and free.max() >= NEAR:
            taken[free.argmax()] = True
            kinds.append("true")
        else:
            kinds.append(kind_of(own, labeled))
    return kinds, taken


def kind_of(shared: NDArray[np.float64], same: NDArray[np.bool_]) -> str:
    """The kind of a false detection. shared: (M,) overlaps with all objects, same: whether of its class."""
    own, others = shared[same].max(initial=0.0), shared[~same].max(initial=0.0)
    if own >= NEAR:
        return "duplicate"
    if others >= NEAR:
        return "class"
    if own >= FAR:
        return "localization"
    return "both" if others >= FAR else "background"
