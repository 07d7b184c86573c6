"""Boxes as distances from a point to their four sides (Tian et al., FCOS, 2019, section 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.models.coders.delta import clip


class DistancePointCoder:
    """Left, top, right and bottom distances in pixels. clip_border: decoded boxes are clipped to the image."""

    def __init__(self, clip_border: bool = True) -> None:
        self.clip_border = clip_border

    def encode(self, points: Tensor, boxes: Tensor) -> Tensor:
        """Distances (..., 4) from points (..., 2 or more: x, y) to the sides of boxes (..., 4) xyxy."""
        return torch.cat([points[..., :2] - boxes[..., :2], boxes[..., 2:] - points[..., :2]], dim=-1)

    def decode(self, points: Tensor, distances: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Boxes (..., 4) xyxy. points: (..., 2 or more), of which x, y count. size: (h, w) to clip to."""
        points = points[..., :2]
        boxes = torch.cat([points - distances[..., :2], points + distances[..., 2:]], dim=-1)
        return clip(boxes, size) if self.clip_border and size is not None else boxes
