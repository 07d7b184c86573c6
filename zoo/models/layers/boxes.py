"""Geometry of boxes (..., 4) xyxy."""

from __future__ import annotations

import torch
from torch import Tensor


def pairwise_iou(a: Tensor, b: Tensor, eps: float = 1e-6) -> Tensor:
    """Intersection over union of every pair: (..., N, 4) and (..., M, 4) to (..., N, M); empty boxes overlap by 0."""
    low = torch.max(a[..., :, None, :2], b[..., None, :, :2])
    high = torch.min(a[..., :, None, 2:], b[..., None, :, 2:])
    overlap = (high - low).clamp(min=0).prod(dim=-1)
    area_a, area_b = ((x[..., 2:] - x[..., :2]).prod(dim=-1) for x in (a, b))
    return overlap / (area_a[..., :, None] + area_b[..., None, :] - overlap).clamp(min=eps)
