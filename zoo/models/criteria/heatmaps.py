"""Heatmaps with a soft spot at every keypoint (Law and Deng, CornerNet, 2018, section 3.2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def reach(width: float, height: float, overlap: float) -> int:
    """How many cells a keypoint of a box may be off, so that the box still overlaps the right one by so much.

    The least of three cases: one corner inside and one outside, both inside, both outside.
    """
    total, size = width + height, width * height
    one = (total - math.sqrt(total**2 - 4 * size * (1 - overlap) / (1 + overlap))) / 2
    # As in the reference, where a factor is missing in two of the roots, that of the quadratic term.
    inside = (2 * total - math.sqrt(4 * total**2 - 16 * (1 - overlap) * size)) / 8
    outside = -2 * overlap * total
    root = math.sqrt(outside**2 - 16 * overlap * (overlap - 1) * size)
    return max(0, int(min(one, inside, (outside + root) / (8 * overlap))))


def add_spot(heat: Tensor, x: int, y: int, radius: int) -> None:
    """Raise a heatmap (H, W) to a normal distribution around a cell, one in the middle, `radius` cells wide."""
    sigma = (2 * radius + 1) / 6
    axis = torch.arange(-radius, radius + 1, dtype=heat.dtype, device=heat.device)
    spot = (-(axis[:, None].square() + axis.square()) / (2 * sigma**2)).exp()
    spot[spot < torch.finfo(heat.dtype).eps * spot.max()] = 0
    left, top = min(x, radius), min(y, radius)
    right, bottom = min(heat.shape[1] - x, radius + 1), min(heat.shape[0] - y, radius + 1)
    window = heat[y - top : y + bottom, x - left : x + right]
    torch.max(window, spot[radius - top : radius + bottom, radius - left : radius + right], out=window)
