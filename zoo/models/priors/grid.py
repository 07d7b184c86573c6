"""Priors over all cells of a pyramid, whatever stands in a cell."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

from zoo.models.layers.tracing import recording


class Generator(Hashable, Protocol):
    """What makes the priors of a level."""

    def steps(self, sizes: Sequence[tuple[int, int]]) -> Sequence[tuple[float, float]]:
        """Pixels per cell of each level, (x, y), when its map has (H, W) cells."""
        ...

    def level_priors(
        self, level: int, size: tuple[int, int], step: tuple[float, float], device: torch.device
    ) -> Tensor:
        """Priors (P, 4) of one level."""
        ...


def grid_priors(generator: Generator, sizes: Sequence[tuple[int, int]], device: torch.device) -> list[Tensor]:
    """Per level the priors (P, 4), row by row. sizes: (H, W) of each level's feature map."""
    levels = [
        (i, (size[0], size[1]), step, device) for i, (size, step) in enumerate(zip(sizes, generator.steps(sizes)))
    ]
    if recording():  # a graph makes its own for every size
        return [generator.level_priors(*level) for level in levels]
    return [kept_priors(generator, *level) for level in levels]


# Images of one size follow each other.
@lru_cache(maxsize=64)
def kept_priors(
    generator: Generator, level: int, size: tuple[int, int], step: tuple[float, float], device: torch.device
) -> Tensor:
    """Priors of one level, made once for each size."""
    with torch.inference_mode(False):  # they may be used in training later
        return generator.level_priors(level, size, step, device)


def cell_corners(size: tuple[int, int], stride: tuple[float, float], device: torch.device | str) -> Tensor:
    """Top left corners (H * W, 2) as x, y in pixels of the cells of a map of (H, W), row by row."""
    y, x = torch.meshgrid(
        torch.arange(size[0], device=device, dtype=torch.float32) * stride[1],
        torch.arange(size[1], device=device, dtype=torch.float32) * stride[0],
        indexing="ij",
    )
    return torch.stack([x.flatten(), y.flatten()], dim=-1)
