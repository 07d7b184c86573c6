"""Assignment by the middle of an object, on the level of its size (Vu et al., Cascade RPN, 2019, section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zoo.models.box_ops import area
from zoo.models.coders.delta import center_and_size
from zoo.models.targets import BACKGROUND, IGNORED, Assignment, GroundTruth


class RegionAssigner:
    """Anchors whose center lies in the middle of an object belong to it, those around the middle are ignored.

    center_ratio, ignore_ratio: sizes of the middle and of what is around it, in boxes.
    """

    def __init__(self, center_ratio: float = 0.2, ignore_ratio: float = 0.5) -> None:
        self.center, self.around = center_ratio, ignore_ratio

    def assign(
        self, levels: Sequence[Tensor], strides: Sequence[float], scale: float, ground_truth: GroundTruth
    ) -> Assignment:
        """Match anchors, per level (P_i, 4), of `scale` strides, with the objects of an image."""
        index = [torch.full((len(x),), BACKGROUND, device=x.device) for x in levels]
        near = [torch.zeros(len(x), dtype=torch.bool, device=x.device) for x in levels]
        size = area(ground_truth.boxes).sqrt() / (scale * strides[0])
        wanted = size.log2().add(0.5).floor().clamp(0, len(levels) - 1).int().tolist()
        for i, (box, level) in enumerate(zip(ground_truth.boxes, wanted)):
            index[level][within(levels[level], strides[level], box, self.around)] = IGNORED
            index[level][within(levels[level], strides[level], box, self.center)] = i
            for other in (level - 1, level + 1):
                if 0 <= other < len(levels):
                    near[other] |= within(levels[other], strides[other], box, self.around)
        for own, flags in zip(index, near if len(ground_truth) else []):
            # The reference means to ignore what is near, but takes the flags as indices: of the first and second cell.
            own[flags.long()] = IGNORED
        result = torch.cat(index)
        return Assignment(result, result.new_zeros(len(result), dtype=torch.float32))


def within(anchors: Tensor, stride: float, box: Tensor, ratio: float) -> Tensor:
    """Whether the centers of anchors (P, 4) lie in the middle of a box (4,), `ratio` of its size, in whole cells."""
    edge, cells = (1 - ratio) / 2, box / stride
    low = ((1 - edge) * cells[:2] + edge * cells[2:]).round()
    high = (edge * cells[:2] + (1 - edge) * cells[2:]).round()
    center = center_and_size(anchors / stride)[0]
    return ((center >= low) & (center <= high)).all(dim=1)
