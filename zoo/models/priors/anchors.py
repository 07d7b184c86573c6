"""Anchors: boxes of several scales and shapes around every cell of a pyramid (Ren et al., 2015, section 3.1)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from zoo.errors import BuildError
from zoo.models.layers.pair import pair
from zoo.models.priors.grid import cell_corners, grid_priors


class AnchorGenerator:
    """Anchors of every scale and aspect ratio at every cell.

    strides: pixels per cell and level, a number or (x, y). ratios: height / width. scales: multiples of the base size;
    instead, `octave_base_scale * 2 ** (i / scales_per_octave)`. base_sizes: one per level, the stride if not given.
    scale_major: all scales of a ratio come first. centers: of the first cell's anchors in pixels per level, else
    `center_offset` base sizes.
    """

    # How many pixels a box's last pixel adds to its size: 0, or 1 as in MMDetection 1.x.
    last_pixel = 0

    def __init__(
        self,
        strides: Sequence[float | Sequence[float]],
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
        self.scales = [torch.tensor(scales).float()] * len(self.strides)
        self.ratios = [torch.tensor(ratios).float()] * len(self.strides)
        self.scale_major = scale_major
        self.centers = [(center_offset * (size - self.last_pixel),) * 2 for size in self.base_sizes]
        if centers:
            self.centers = [(x, y) for x, y in centers]
        self.base_anchors = [self.cell_anchors(i) for i in range(len(self.strides))]

    @property
    def num_base_priors(self) -> list[int]:
        """Anchors per cell, for each level."""
        return [len(a) for a in self.base_anchors]

    def cell_anchors(self, level: int) -> Tensor:
        """Anchors (A, 4) xyxy of the first cell of a level."""
        size, scales, ratios = self.base_sizes[level], self.scales[level], self.ratios[level]
        heights, widths = size * ratios.sqrt(), size / ratios.sqrt()
        if self.scale_major:
            heights, widths = ((side[:, None] * scales).flatten() for side in (heights, widths))
        else:
            heights, widths = ((side * scales[:, None]).flatten() for side in (heights, widths))
        return self.around(self.centers[level], torch.stack([widths, heights], dim=-1))

    def around(self, center: Sequence[float], sizes: Tensor) -> Tensor:
        """Anchors (A, 4) xyxy of sizes (A, 2), width and height, around x, y."""
        middle, half = torch.tensor(center), (sizes - self.last_pixel) / 2
        anchors = torch.cat([middle - half, middle + half], dim=-1)
        return anchors.round() if self.last_pixel else anchors

    def grid_priors(self, sizes: Sequence[tuple[int, int]], device: torch.device | str = "cpu") -> list[Tensor]:
        """Per level anchors (H * W * A, 4) xyxy in pixels, row by row, the A anchors of a cell together.

        sizes: (H, W) of each level's feature map.
        """
        return grid_priors(self, sizes, torch.device(device))

    def steps(self, sizes: Sequence[tuple[int, int]]) -> Sequence[tuple[float, float]]:
        """Pixels per cell of each level, (x, y), when its map has (H, W) cells."""
        return self.strides

    def level_priors(
        self, level: int, size: tuple[int, int], step: tuple[float, float], device: torch.device
    ) -> Tensor:
        """Anchors of one level."""
        shifts = cell_corners(size, step, device)
        return (self.base_anchors[level].to(device) + shifts.repeat(1, 2)[:, None]).view(-1, 4)


class LegacyAnchorGenerator(AnchorGenerator):
    """Anchors of MMDetection 1.x: whole pixels, of which the last is part of the box."""

    last_pixel = 1


class SSDAnchorGenerator(AnchorGenerator):
    """Anchors of SSD (Liu et al., 2016, section 2.2): one more square one between each level's size and the next.

    ratios: per level, each also upside down. min_sizes, max_sizes: per level in pixels; without them they come from
    `basesize_ratio_range`, parts of `input_size` (300 or 512) at the second and the last level. max_side: of anchors,
    in pixels (torchvision's are no longer than the input).
    """

    def __init__(
        self,
        strides: Sequence[float],
        ratios: Sequence[Sequence[float]],
        min_sizes: Sequence[float] | None = None,
        max_sizes: Sequence[float] | None = None,
        basesize_ratio_range: Sequence[float] = (0.15, 0.9),
        input_size: int = 300,
        scale_major: bool = True,
        max_side: float = math.inf,
    ) -> None:
        if min_sizes is None or max_sizes is None:
            min_sizes, max_sizes = ssd_sizes(len(strides), basesize_ratio_range, input_size)
        self.strides, self.base_sizes, self.scale_major = [pair(s) for s in strides], list(min_sizes), scale_major
        self.max_side = max_side
        self.centers = [((x - self.last_pixel) / 2, (y - self.last_pixel) / 2) for x, y in self.strides]
        self.scales = [torch.tensor([1.0, math.sqrt(high / low)]) for low, high in zip(min_sizes, max_sizes)]
        self.ratios = [torch.tensor([1.0] + [side for r in level for side in (1 / r, r)]) for level in ratios]
        self.base_anchors = [self.cell_anchors(level) for level in range(len(strides))]

    def cell_anchors(self, level: int) -> Tensor:
        """Anchors (A, 4) xyxy of the first cell of a level: the two squares, then the other shapes."""
        shapes = len(self.ratios[level])
        return super().cell_anchors(level)[[0, shapes, *range(1, shapes)]]

    def around(self, center: Sequence[float], sizes: Tensor) -> Tensor:
        """Anchors (A, 4) xyxy of sizes (A, 2) around x, y, none with a side that is too long."""
        return super().around(center, sizes.clamp(max=self.max_side))


class LegacySSDAnchorGenerator(SSDAnchorGenerator):
    """SSD's anchors in MMDetection 1.x: whole pixels, of which the last is part of the box."""

    last_pixel = 1


class YOLOAnchorGenerator(AnchorGenerator):
    """Anchors of given sizes around each cell's center. base_sizes: per level (width, height) of each anchor."""

    def __init__(self, strides: Sequence[int], base_sizes: Sequence[Sequence[Sequence[int]]]) -> None:
        self.strides = [pair(s) for s in strides]
        self.base_anchors = [
            self.around((x / 2, y / 2), torch.tensor(sizes).float()) for (x, y), sizes in zip(self.strides, base_sizes)
        ]


# (input size, percentage at the second level) -> smallest and largest percentage at the first level.
FIRST_LEVEL = {(300, 15): (7, 15), (300, 20): (10, 20), (512, 10): (4, 10), (512, 15): (7, 15)}


def ssd_sizes(levels: int, ratio_range: Sequence[float], input_size: int) -> tuple[list[int], list[int]]:
    """Smallest and largest sizes per level in pixels. Raises BuildError for a combination that SSD does not define."""
    low, high = (int(ratio * 100) for ratio in ratio_range)
    if (input_size, low) not in FIRST_LEVEL:
        known = ", ".join(f"{size} with {ratio / 100}" for size, ratio in FIRST_LEVEL)
        raise BuildError(f"SSD has no sizes for an input of {input_size} with {ratio_range[0]}; known: {known}")
    step = int((high - low) / (levels - 2))
    ratios = [FIRST_LEVEL[input_size, low]] + [(ratio, ratio + step) for ratio in range(low, high + 1, step)]
    smallest, largest = zip(*((int(input_size * a / 100), int(input_size * b / 100)) for a, b in ratios))
    return list(smallest), list(largest)
