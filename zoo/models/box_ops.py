"""Overlaps of boxes, all (..., 4) xyxy, and the other ways to write a box."""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-6


def area(boxes: Tensor) -> Tensor:
    """Areas (...) of boxes (..., 4)."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def intersection(a: Tensor, b: Tensor) -> Tensor:
    """Areas shared by boxes that broadcast against each other."""
    size = (torch.min(a[..., 2:], b[..., 2:]) - torch.max(a[..., :2], b[..., :2])).clamp(min=0)
    return size[..., 0] * size[..., 1]


def aligned_iou(a: Tensor, b: Tensor, eps: float = EPSILON) -> Tensor:
    """Intersection over union of boxes that broadcast against each other."""
    shared = intersection(a, b)
    return shared / (area(a) + area(b) - shared).clamp(min=eps)


def aligned_giou(a: Tensor, b: Tensor, eps: float = EPSILON) -> Tensor:
    """Generalized IoU (Rezatofighi et al., 2019) of boxes that broadcast against each other."""
    shared = intersection(a, b)
    union = (area(a) + area(b) - shared).clamp(min=eps)
    size = (torch.max(a[..., 2:], b[..., 2:]) - torch.min(a[..., :2], b[..., :2])).clamp(min=0)
    hull = (size[..., 0] * size[..., 1]).clamp(min=eps)
    return shared / union - (hull - union) / hull


def pairwise_iou(a: Tensor, b: Tensor, eps: float = EPSILON) -> Tensor:
    """Intersection over union (..., N, M) of boxes (..., N, 4) and (..., M, 4); empty boxes have 0."""
    return aligned_iou(a[..., :, None, :], b[..., None, :, :], eps)


def pairwise_iof(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over the area of the first (K, M) of boxes (K, 4) and (M, 4)."""
    return intersection(a[:, None], b[None]) / area(a)[:, None].clamp(min=EPSILON)


def box_convert(boxes: Tensor, given: str, wanted: str) -> Tensor:
    """Boxes (..., 4) from one format to the other: "xyxy" (corners) or "cxcywh" (center and size)."""
    if given == wanted:
        return boxes.clone()
    first, second = boxes[..., :2], boxes[..., 2:]
    if wanted == "xyxy":
        return torch.cat([first - 0.5 * second, first + 0.5 * second], dim=-1)
    return torch.cat([(first + second) / 2, second - first], dim=-1)
