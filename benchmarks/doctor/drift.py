"""Boxes that are all shifted or scaled by the same amount, as measured on the objects that they lie on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from benchmarks.doctor.case import Case, Floats
from benchmarks.doctor.fit import grouped

OVERLAP = 0.3  # from which a detection is taken for an object's
FEWEST = 20  # pairs
PIXELS = 1.5  # smaller shifts are no mistake
FACTOR = 0.04  # nor are smaller differences in size


class Drift(NamedTuple):
    """A common change of boxes. undo: xywh -> xywh."""

    key: str
    sentence: str
    shift: tuple[float, float]
    factor: tuple[float, float]

    def undo(self, boxes: Floats) -> Floats:
        """The boxes without it: sizes about their centers, then places."""
        size = boxes[:, 2:] * self.factor
        return np.column_stack([boxes[:, :2] + boxes[:, 2:] / 2 + self.shift - size / 2, size])


def drifts(case: Case, table: Floats) -> Iterator[Drift]:
    """The common shift and the common factor of sizes, where they are more than noise."""
    boxes, objects = pairs(case, table)
    if len(boxes) < FEWEST:
        return
    shift = np.median(objects[:, :2] + objects[:, 2:] / 2 - boxes[:, :2] - boxes[:, 2:] / 2, 0)
    if np.abs(shift).max() >= PIXELS:
        x, y = (-shift).tolist()
        yield Drift("shifted", f"All boxes are shifted by {x:+.1f}, {y:+.1f} pixels.", tuple(shift.tolist()), (1, 1))
    factor = np.median(objects[:, 2:] / np.maximum(boxes[:, 2:], 1e-6), 0)
    if np.abs(factor - 1).max() >= FACTOR:
        x, y = (1 / factor).tolist()
        sentence = f"All boxes have {x:.2f} times the width and {y:.2f} times the height of the objects."
        yield Drift("scaled", sentence, (0.0, 0.0), tuple(factor.tolist()))


def pairs(case: Case, table: Floats) -> tuple[Floats, Floats]:
    """Detections and the objects of their class that they overlap most: (P, 4) twice, xywh."""
    objects, own_of = case.objects, grouped(case.objects)
    boxes, targets = [np.zeros((0, 4))], [np.zeros((0, 4))]
    for number, places in grouped(table).items():
        if number in own_of:
            theirs = objects[own_of[number]]
            own = places[np.argsort(-table[places, 5], kind="stable")][: 2 * len(theirs)]
            first, second = best_pairs(table[own], theirs)
            boxes.append(first)
            targets.append(second)
    return np.concatenate(boxes), np.concatenate(targets)


def best_pairs(detections: Floats, objects: Floats) -> tuple[Floats, Floats]:
    """The same of one image."""
    first, second = np.ascontiguousarray(detections[:, 1:5]), np.ascontiguousarray(objects[:, 1:5])
    shared: NDArray[np.float64] = np.asarray(coco_mask.iou(first, second, [0] * len(second)))
    shared = np.where(detections[:, 6][:, None] == objects[:, 5][None], shared, 0.0)
    best = shared.argmax(1)
    near = shared.max(1) >= OVERLAP
    return first[near], second[best[near]]
