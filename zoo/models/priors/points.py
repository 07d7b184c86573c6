"""Points: one per cell of a feature pyramid, for heads without anchors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from zoo.models.layers.tracing import recording
from zoo.models.priors.anchors import cell_corners, pair


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
        levels, place = enumerate(zip(sizes, self.steps(sizes))), torch.device(device)
        make = self.level_priors if recording() else self.kept_priors  # a graph makes its own for every size
        return [make(level, (size[0], size[1]), step, place) for level, (size, step) in levels]

    def steps(self, sizes: Sequence[tuple[int, int]]) -> Sequence[tuple[float, float]]:
        """Pixels per cell of each level, (x, y), when its map has (H, W) cells."""
        return self.strides

    def level_priors(
        self, level: int, size: tuple[int, int], step: tuple[float, float], device: torch.device
    ) -> Tensor:
        """Points of one level."""
        with torch.inference_mode(False):  # what is kept may be used in training later
            stride = torch.tensor(self.strides[level], dtype=torch.float32, device=device)
            points = cell_corners(size, step, device) + stride * self.offset
            return torch.cat([points, stride.expand_as(points)], dim=-1)

    # Pictures of one size follow each other; a generator lives as long as its network.
    kept_priors = lru_cache(maxsize=64)(level_priors)
