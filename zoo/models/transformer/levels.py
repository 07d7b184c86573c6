"""Several feature maps as one sequence, for deformable attention."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zoo.models.layers.constants import extents
from zoo.models.transformer.padding import tokens


def map_shapes(maps: Sequence[Tensor]) -> list[tuple[int, int]]:
    """(h, w) of maps (N, C, h, w)."""
    return [(x.shape[-2], x.shape[-1]) for x in maps]


def join(maps: Sequence[Tensor]) -> Tensor:
    """Maps (N, C, h, w) as one sequence (N, S, C)."""
    return torch.cat([tokens(x) for x in maps], dim=1)


def valid_ratios(paddings: Sequence[Tensor]) -> Tensor:
    """The share of each level that is image, (N, levels, 2) as x, y. paddings: per level (N, h, w) bool."""
    shares = [torch.stack([(~p[:, 0]).float().mean(1), (~p[:, :, 0]).float().mean(1)], dim=-1) for p in paddings]
    return torch.stack(shares, dim=1)


def reference_points(shapes: Sequence[tuple[int, int]], ratios: Tensor) -> Tensor:
    """Where each cell of each level lies on every level, (N, S, levels, 2) as x, y in shares of the padded maps.

    ratios: (N, levels, 2), `valid_ratios`.
    """
    points = []
    for level, shape in enumerate(shapes):
        centers = cell_centers(shape, ratios.device)
        extent = extents([shape], ratios) * ratios[:, level]
        points.append(centers / extent[:, None])
    return torch.cat(points, dim=1)[:, :, None] * ratios[:, None]


def cell_centers(shape: tuple[int, int], device: torch.device) -> Tensor:
    """Centers (h * w, 2) of a map's cells as x, y in cells."""
    y, x = torch.meshgrid(*(torch.arange(n, device=device, dtype=torch.float32) + 0.5 for n in shape), indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], dim=-1)
