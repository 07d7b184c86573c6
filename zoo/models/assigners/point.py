"""Assignment of the nearest points on the level of an object's size (Yang et al., RepPoints, 2019, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.models.coders.delta import center_and_size
from zoo.models.targets import BACKGROUND, Assignment, GroundTruth


class PointAssigner:
    """The `pos_num` points nearest to an object's center, on the level of its size, in strides times `scale`.

    A point near several objects belongs to the one whose center is nearer in units of its size.
    """

    def __init__(self, scale: float = 4, pos_num: int = 3) -> None:
        self.scale, self.pos_num = scale, pos_num

    def assign(self, points: Tensor, ground_truth: GroundTruth) -> Assignment:
        """Match points (P, 4: x, y, strides) with the objects of an image."""
        index = torch.full((len(points),), BACKGROUND, device=points.device)
        nearest = points.new_full((len(points),), torch.inf)
        if len(ground_truth) == 0:
            return Assignment(index, torch.zeros_like(nearest))
        centers, sizes = center_and_size(ground_truth.boxes)
        sizes = sizes.clamp(min=1e-6)
        level = points[:, 2].log2().int()
        wanted = ((sizes / self.scale).log2().sum(dim=1) / 2).int().clamp(int(level.min()), int(level.max()))
        for i in range(len(ground_truth)):
            own = (level == wanted[i]).nonzero().flatten()
            distance = ((points[own, :2] - centers[i]) / sizes[i]).norm(dim=1)
            close, closest = distance.topk(min(self.pos_num, len(own)), largest=False)
            better = close < nearest[own[closest]]
            index[own[closest[better]]], nearest[own[closest[better]]] = i, close[better]
        return Assignment(index, torch.zeros_like(nearest))
