"""Boxes as buckets and offsets of their sides (Wang et al., Side-Aware Boundary Localization, 2019)."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.models.layers.constants import extents


class BucketingBBoxCoder:
    """Each side lies in one of `ceil(num_buckets / 2)` buckets, counted inwards, at an offset in units of a bucket.

    scale_factor: buckets cover the prior enlarged by this. clip_border: decoded boxes are clipped to the image.
    offset_topk: so many of the nearest buckets learn the offset, those beyond the first only if they are nearer than
    `offset_upperbound` buckets. cls_ignore_neighbor: near buckets that are not the nearest are no negatives.
    Sides are in the order left, right, top, bottom; S buckets of each side stand together.
    """

    def __init__(
        self,
        num_buckets: int,
        scale_factor: float,
        offset_topk: int = 2,
        offset_upperbound: float = 1.0,
        cls_ignore_neighbor: bool = True,
        clip_border: bool = True,
    ) -> None:
        self.num_buckets, self.side_num, self.scale_factor = num_buckets, (num_buckets + 1) // 2, scale_factor
        self.offset_topk, self.offset_upperbound = offset_topk, offset_upperbound
        self.cls_ignore_neighbor, self.clip_border = cls_ignore_neighbor, clip_border

    def encode(self, priors: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Offsets, their weights, bucket labels (one-hot) and their weights, each (K, 4 * S).

        priors, boxes: (K, 4) xyxy.
        """
        start, step = self.sides(priors.float())
        offsets = (self.centers(start, step) - boxes.float()[:, [0, 2, 1, 3], None]) / step.abs()[..., None]
        distance, nearest = offsets.abs().topk(self.offset_topk, dim=-1, largest=False)
        near = (distance < self.offset_upperbound).to(offsets)
        near[..., 0] = 1
        offset_weights = torch.zeros_like(offsets).scatter_(-1, nearest, near)
        labels = torch.zeros_like(offsets).scatter_(-1, nearest[..., :1], 1)
        ignored = (offsets.abs() < 1) & (labels == 0) & self.cls_ignore_neighbor
        parts = (offsets, offset_weights, labels, (~ignored).to(offsets))
        return tuple(part.flatten(1) for part in parts)  # type: ignore[return-value]

    def decode(
        self, priors: Tensor, predictions: tuple[Tensor, Tensor], size: tuple[int, int] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Boxes (K, 4) xyxy, and how sure their sides are, (K,) from 0 to 1.

        priors: (K, 4) xyxy. predictions: bucket logits and offsets, each (K, 4 * S). size: (h, w) to clip to.
        """
        logits, offsets = (p.view(-1, 4, self.side_num) for p in predictions)
        start, step = self.sides(priors)
        scores, best = logits.softmax(dim=-1).topk(2, dim=-1)
        offset = offsets.gather(-1, best[..., :1]).squeeze(-1)
        left, right, top, bottom = (start + (best[..., 0] + 0.5) * step - offset * step.abs()).unbind(dim=1)
        boxes = torch.stack([left, top, right, bottom], dim=1)
        if self.clip_border and size is not None:
            limit = extents([size], boxes).repeat(1, 2) - 1
            boxes = torch.minimum(boxes.clamp(min=0), limit)
        neighbors = (best[..., 0] - best[..., 1]).abs() == 1
        return boxes, (scores[..., 0] + scores[..., 1] * neighbors).mean(dim=1)

    def sides(self, priors: Tensor) -> tuple[Tensor, Tensor]:
        """Where each side of the enlarged priors is, and the way into the next bucket, each (K, 4)."""
        x1, y1, x2, y2 = rescaled(priors, self.scale_factor).unbind(dim=-1)
        width, height = (x2 - x1) / self.num_buckets, (y2 - y1) / self.num_buckets
        return torch.stack([x1, x2, y1, y2], dim=-1), torch.stack([width, -width, height, -height], dim=-1)

    def centers(self, start: Tensor, step: Tensor) -> Tensor:
        """Centers (K, 4, S) of all buckets."""
        index = torch.arange(self.side_num, device=start.device, dtype=start.dtype)
        return start[..., None] + (index + 0.5) * step[..., None]


def rescaled(boxes: Tensor, factor: float) -> Tensor:
    """Boxes (..., 4) xyxy enlarged around their centers."""
    center, size = (boxes[..., :2] + boxes[..., 2:]) * 0.5, (boxes[..., 2:] - boxes[..., :2]) * factor
    return torch.cat([center - size * 0.5, center + size * 0.5], dim=-1)
