"""YOLO's boxes (Redmon and Farhadi, YOLOv3, 2018, section 2.1)."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.models.coders.delta import center_and_size


class YOLOCoder:
    """A center within the cell, 0 to 1, and log-scales of the anchor's size. eps: keeps targets off their limits."""

    def __init__(self, eps: float = 1e-6) -> None:
        self.eps = eps

    def encode(self, priors: Tensor, boxes: Tensor, stride: Tensor | float) -> Tensor:
        """Targets (..., 4) for anchors and boxes (..., 4) xyxy. stride: pixels per cell, broadcast over the center."""
        (center, size), (target, target_size) = center_and_size(priors), center_and_size(boxes)
        offset = ((target - center) / stride + 0.5).clamp(self.eps, 1 - self.eps)
        return torch.cat([offset, (target_size / size).clamp(min=self.eps).log()], dim=-1)

    def decode(self, priors: Tensor, regression: Tensor, stride: Tensor | float) -> Tensor:
        """Boxes (..., 4) xyxy. regression: (..., 4), the center after its sigmoid. stride: as for `encode`."""
        center, size = center_and_size(priors)
        center = center + (regression[..., :2] - 0.5) * stride
        half = size * 0.5 * regression[..., 2:].exp()
        return torch.cat([center - half, center + half], dim=-1)
