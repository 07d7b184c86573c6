"""The boxes that survive non-maximum suppression, looked for no further than they are needed."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.models.layers.cpu_choices import FEWEST, GROUPED_NMS_FROM
from zoo.models.layers.vision_operators import nms

FIRST = 4096
"""So many of the best boxes are compared first; mostly enough survive, and the others need not be looked at."""


def first_survivors(
    boxes: Tensor, scores: Tensor, iou_threshold: float, count: int, groups: Tensor | None = None
) -> Tensor:
    """Indices of the first `count` boxes that survive. boxes: (K, 4) xyxy, best first. scores: (K,), falling.

    A box's fate depends on better boxes only, so growing prefixes of the list are enough; on a CPU, where comparing
    twice as many takes four times as long, the first one is as short as `count` lets it be. groups: (K,), to go group
    by group; boxes of different groups must lie apart.
    """
    length = first_length(len(boxes), count) if boxes.device.type == "cpu" else FIRST
    keep = survivors(boxes[:length], scores[:length], iou_threshold, groups)
    while len(keep) < count and length < len(boxes):
        length *= 4
        keep = survivors(boxes[:length], scores[:length], iou_threshold, groups)
    return keep[:count]


def first_length(boxes: int, count: int) -> int:
    """How many of the best boxes to compare first on a CPU: all if all may be wanted."""
    return boxes if count >= boxes else min(FIRST, max(FEWEST, 4 * count))


def survivors(boxes: Tensor, scores: Tensor, iou_threshold: float, groups: Tensor | None) -> Tensor:
    """Indices of the boxes that survive, best first; all at once without groups."""
    if groups is None or len(boxes) < GROUPED_NMS_FROM:
        return nms(boxes, scores, iou_threshold)
    order = groups[: len(boxes)].argsort(stable=True)
    sizes = torch.unique_consecutive(groups[order], return_counts=True)[1].tolist()
    parts = zip(order.split(sizes), boxes[order].split(sizes), scores[order].split(sizes))
    return torch.cat([index[nms(box, score, iou_threshold)] for index, box, score in parts]).sort().values
