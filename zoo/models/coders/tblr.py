"""Boxes as distances from an anchor's center, in parts of the anchor's size (Zhu et al., FSAF, 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zoo.models.coders.delta import center_and_size, clip
from zoo.models.layers.constants import constant


class TBLRCoder:
    """Top, bottom, left and right distances over the anchor's height or width, times 1 / `normalizer`.

    clip_border: decoded boxes are clipped to the image.
    """

    def __init__(self, normalizer: float | Sequence[float] = 4.0, clip_border: bool = True) -> None:
        self.normalizer = tuple(normalizer) if isinstance(normalizer, Sequence) else (normalizer,) * 4
        self.clip_border = clip_border

    def factors(self, priors: Tensor) -> tuple[Tensor, Tensor]:
        """Centers (..., 2) of the anchors, and pixels per unit of top, bottom, left, right (..., 4)."""
        center, extent = center_and_size(priors)
        sides = torch.cat([extent[..., 1:].expand_as(extent), extent[..., :1].expand_as(extent)], dim=-1)
        return center, sides * constant(self.normalizer, priors)

    def encode(self, priors: Tensor, boxes: Tensor) -> Tensor:
        """Distances (..., 4) that turn anchors (..., 4) xyxy into boxes (..., 4) xyxy."""
        center, factor = self.factors(priors)
        low, high = center - boxes[..., :2], boxes[..., 2:] - center
        return torch.stack([low[..., 1], high[..., 1], low[..., 0], high[..., 0]], dim=-1) / factor

    def decode(self, priors: Tensor, distances: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Boxes (..., 4) xyxy. priors: (..., 4) xyxy. size: (h, w) to clip to."""
        center, factor = self.factors(priors)
        top, bottom, left, right = (distances * factor).unbind(-1)
        x, y = center.unbind(-1)
        boxes = torch.stack([x - left, y - top, x + right, y + bottom], dim=-1)
        return clip(boxes, size) if self.clip_border and size is not None else boxes
