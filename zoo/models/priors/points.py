"""Points: one per cell of a feature pyramid, for heads without anchors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zoo.models.layers.pair import pair
from zoo.models.priors.grid import cell_corners, grid_priors


class PointGenerator:
    """One point per cell, `offset` cells from its top left corner."""

    def __init__(self, strides: Sequence[int | Sequence[int]], offset: float = 0.5) -> None:
        self.strides = [pair(s) for s in strides]
        self.offset = offset

    @property
    def num_base_priors(self) -> list[int]:
        """Points per cell, for each level: one."""
        return [1] * len(self.strides)

    def grid_priors(self, sizes: Sequence[tuple[int, int]], device: torch.device | str = "cpu") -> list[Tensor]:
        """Per level (H * W, 4): x, y, stride x, stride y in pixels, row by row. sizes: (H, W) of each level."""
        return grid_priors(self, sizes, torch.device(device))

    def steps(self, sizes: Sequence[tuple[int, int]]) -> Sequence[tuple[float, float]]:
        """Pixels per cell of each level, (x, y), when its map has (H, W) cells."""
        return self.strides

    def level_priors(
        self, level: int, size: tuple[int, int], step: tuple[float, float], device: torch.device
    ) -> Tensor:
        """Points of one level."""
        stride = torch.tensor(self.strides[level], dtype=torch.float32, device=device)
        points = cell_corners(size, step, device) + stride * self.offset
        return torch.cat([points, stride.expand_as(points)], dim=-1)
