"""Anchors: boxes of several scales and shapes around every cell of a pyramid (Ren et al., 2015, section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor


class AnchorGenerator:
    """Anchors of every scale and aspect ratio at every cell.

    strides: pixels per cell and level, a number or (x, y). ratios: height / width. scales: multiples of the base size;
    instead, `octave_base_scale * 2 ** (i / scales_per_octave)`. base_sizes: one per level, the stride if not given.
    scale_major: all scales of a ratio come first. centers: of the first cell's anchors in pixels per level, else
    `center_offset` base sizes.
    """

    def __init__(
        self,
        strides: Sequence[int | Sequence[int]],
        ratios: Sequence[float],
        scales: Sequence[float] | None = None,
        base_sizes: Sequence[float] | None = None,
        scale_major: bool = True,
        octave_base_scale: float | None = None,
        scales_per_octave: int | None = None,
        centers: Sequence[Sequence[float]] | None = None,
        center_offset: float = 0.0,
    ) -> None:
        self.strides = [pair(s) for s in strides]
        self.base_sizes = list(base_sizes) if base_sizes is not None else [min(s) for s in self.strides]
        if scales is None:
            if octave_base_scale is None or scales_per_octave is None:
                raise ValueError("anchors need either scales or octave_base_scale with scales_per_octave")
            scales = [octave_base_scale * 2 ** (i / scales_per_octave) for i in range(scales_per_octave)]
        self.scales, self.ratios, self.scale_major = (
            torch.tensor(scales).float(),
            torch.tensor(ratios).float(),
            scale_major,
        )
        self.centers = [tuple(c) for c in centers] if centers else [(center_offset * b,) * 2 for b in self.base_sizes]
        self.base_anchors = [self.cell_anchors(i) for i in range(len(self.strides))]

    @property
    def num_base_priors(self) -> list[int]:
        """Anchors per cell, for each level."""
        return [len(a) for a in self.base_anchors]

    def cell_anchors(self, level: int) -> Tensor:
        """Anchors (A, 4) xyxy of the first cell of a level."""
        size = self.base_sizes[level]
        heights, widths = size * self.ratios.sqrt(), size / self.ratios.sqrt()
        if self.scale_major:
            heights, widths = ((side[:, None] * self.scales).flatten() for side in (heights, widths))
        else:
            heights, widths = ((side * self.scales[:, None]).flatten() for side in (heights, widths))
        x, y = self.centers[level]
        return torch.stack([x - widths / 2, y - heights / 2, x + widths / 2, y + heights / 2], dim=-1)

    def grid_priors(self, sizes: Sequence[tuple[int, int]], device: torch.device | str = "cpu") -> list[Tensor]:
        """Per level anchors (H * W * A, 4) xyxy in pixels, row by row, the A anchors of a cell together.

        sizes: (H, W) of each level's feature map.
        """
        return [self.level_priors(level, tuple(size), torch.device(device)) for level, size in enumerate(sizes)]

    @lru_cache(maxsize=64)  # noqa: B019  (a generator lives as long as its network)
    def level_priors(self, level: int, size: tuple[int, int], device: torch.device) -> Tensor:
        """Anchors of one level; kept, because pictures of one size follow each other."""
        shifts = cell_corners(size, self.strides[level], device)
        return (self.base_anchors[level].to(device) + shifts.repeat(1, 2)[:, None]).view(-1, 4)


def cell_corners(size: tuple[int, int], stride: tuple[int, int], device: torch.device | str) -> Tensor:
    """Top left corners (H * W, 2) as x, y in pixels of the cells of a map of (H, W), row by row."""
    y, x = torch.meshgrid(
        torch.arange(size[0], device=device, dtype=torch.float32) * stride[1],
        torch.arange(size[1], device=device, dtype=torch.float32) * stride[0],
        indexing="ij",
    )
    return torch.stack([x.flatten(), y.flatten()], dim=-1)


def pair(value: int | Sequence[int]) -> tuple[int, int]:
    """A stride as (x, y)."""
    return (value, value) if isinstance(value, int) else (value[0], value[1])
