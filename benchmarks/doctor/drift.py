"""Boxes that are all shifted or scaled by the same amount, as measured on the objects that they lie on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from benchmarks.doctor.case import Case, Floats
from benchmarks.doctor.fit import grouped

OVERLAP = 0.15  # from which a detection is taken for an object's; boxes of half the width and height overlap by 0.25
FEWEST = 20  # pairs
PIXELS = 2.5  # a smaller shift is the bias of a detector
FACTOR = 0.12  # so is a smaller difference in size: trained detectors are off by up to some 5%
ROUNDS = 2  # of pairing, since pairs of moved boxes are fewer, and not the typical ones


class Drift(NamedTuple):
    """A common change of boxes. undo: xywh -> xywh."""

    key: str
    sentence: str
    shift: tuple[float, float]
    factor: tuple[float, float]

    def undo(self, boxes: Floats) -> Floats:
        """The boxes without it: sizes about their centers, then positions."""
        size = boxes[:, 2:] * self.factor
        return np.column_stack([boxes[:, :2] + boxes[:, 2:] / 2 + self.shift - size / 2, size])


def drifts(case: Case, table: Floats) -> Iterator[Drift]:
    """The common shift and the common factor of sizes, where they are more than the bias of a trained detector."""
    shift = measured(case, table, shift_between, np.zeros(2))
    if np.abs(shift).max() >= PIXELS:
        x, y = (-shift).tolist()
        yield shifted(shift)._replace(sentence=f"All boxes are shifted by {x:+.1f}, {y:+.1f} pixels.")
    factor = measured(case, table, factor_between, np.zeros(2))
    if np.abs(factor).max() >= np.log(1 + FACTOR):
        x, y = np.exp(-factor).tolist()
        sentence = f"All boxes have {x:.2f} times the width and {y:.2f} times the height of the objects."
        yield scaled(factor)._replace(sentence=sentence)


def shifted(shift: Floats) -> Drift:
    """Boxes that must be moved by x and y."""
    return Drift("shifted", "", (float(shift[0]), float(shift[1])), (1.0, 1.0))


def scaled(factor: Floats) -> Drift:
    """Boxes whose width and height must be multiplied by the exponentials of these."""
    return Drift("scaled", "", (0.0, 0.0), (float(np.exp(factor[0])), float(np.exp(factor[1]))))


def shift_between(boxes: Floats, objects: Floats) -> tuple[Floats, Callable[[Floats], Drift]]:
    """(P, 2) from each box's center to its object's."""
    return objects[:, :2] + objects[:, 2:] / 2 - boxes[:, :2] - boxes[:, 2:] / 2, shifted


def factor_between(boxes: Floats, objects: Floats) -> tuple[Floats, Callable[[Floats], Drift]]:
    """(P, 2) logarithms of the objects' sizes over the boxes'."""
    return np.log(np.maximum(objects[:, 2:], 1e-6) / np.maximum(boxes[:, 2:], 1e-6)), scaled


def measured(case: Case, table: Floats, between: Any, total: Floats) -> Floats:
    """The median (2,) of what is between boxes and objects, paired again after each correction; zeros for few pairs."""
    for _ in range(ROUNDS):
        boxes, objects = pairs(case, table)
        if len(boxes) < FEWEST:
            return np.zeros(2)
        values, as_drift = between(boxes, objects)
        by = np.median(values, 0)
        table = table.copy()
        table[:, 1:5] = as_drift(by).undo(table[:, 1:5])
        total = total + by
    return total


def pairs(case: Case, table: Floats) -> tuple[Floats, Floats]:
    """Detections and the objects of their class that they overlap most: (P, 4) twice, xywh."""
    objects, own_of = case.objects, grouped(case.objects)
    boxes, targets = [np.zeros((0, 4))], [np.zeros((0, 4))]
    for number, indices in grouped(table).items():
        if number in own_of:
            theirs = objects[own_of[number]]
            own = indices[np.argsort(-table[indices, 5], kind="stable")][: 2 * len(theirs)]
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
