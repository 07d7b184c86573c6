"""The boxes that survive non-maximum suppression, looked for no further than they are needed."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.models.layers.vision_operators import nms

# So many of the best boxes are compared first; mostly enough survive, and the others need not be looked at.
FIRST = 4096


def first_survivors(
    boxes: Tensor, scores: Tensor, iou_threshold: float, count: int, groups: Tensor | None = None
) -> Tensor:
    """Indices of the first `count` boxes that survive. boxes: (K, 4) xyxy, best first. scores: (K,), falling.

    A box's fate depends on better boxes only, so growing prefixes of the list are enough. groups: (K,), to go group by
    group; boxes of different groups must lie apart.
    """
    length = FIRST
    keep = survivors(boxes[:length], scores[:length], iou_threshold, groups)
    while len(keep) < count and length < len(boxes):
        length *= 4
        keep = survivors(boxes[:length], scores[:length], iou_threshold, groups)
    return keep[:count]


def survivors(boxes: Tensor, scores: Tensor, iou_threshold: float, groups: Tensor | None) -> Tensor:
    """Indices of the boxes that survive, best first; all at once without groups."""
    if groups is None:
        return nms(boxes, scores, iou_threshold)
    groups = groups[: len(boxes)]
    members = [(groups == group).nonzero().squeeze(1) for group in groups.unique().tolist()]
    kept = [index[nms(boxes[index], scores[index], iou_threshold)] for index in members]
    return torch.cat(kept).sort().values
