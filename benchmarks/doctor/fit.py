"""How well boxes lie on objects, whatever their classes and scores: quick enough to try hundreds of mistakes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from benchmarks.doctor.case import Case, Floats


def fit_by_image(case: Case, table: Floats) -> dict[int, tuple[float, int]]:
    """Number of an image -> (mean of each object's largest overlap with a detection, number of objects)."""
    objects, result = case.objects, {}
    boxes_of = grouped(table)
    for number, own in grouped(objects).items():
        boxes = table[boxes_of[number], 1:5] if number in boxes_of else np.zeros((0, 4))
        result[number] = (largest(boxes, objects[own, 1:5]), len(own))
    return result


def largest(boxes: Floats, objects: Floats) -> float:
    """The mean over objects of the largest IoU with a box; xywh."""
    usable = boxes[(boxes[:, 2:] > 0).all(1) & np.isfinite(boxes).all(1)]
    if not len(usable):
        return 0.0
    overlaps = coco_mask.iou(np.ascontiguousarray(usable), np.ascontiguousarray(objects), [0] * len(objects))
    return float(np.asarray(overlaps).max(0).mean())


def fit(case: Case, table: Floats) -> float:
    """The same over all objects."""
    by_image = fit_by_image(case, table).values()
    total = sum(count for _, count in by_image)
    return sum(value * count for value, count in by_image) / max(total, 1)


def grouped(table: Floats) -> dict[int, NDArray[np.int64]]:
    """Number of an image -> indices of its rows."""
    order = np.argsort(table[:, 0], kind="stable")
    numbers, starts = np.unique(table[order, 0], return_index=True)
    return {int(number): part for number, part in zip(numbers, np.split(order, starts[1:]))}
