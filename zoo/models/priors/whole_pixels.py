"""Priors as torchvision makes them: on whole pixels, as far apart as an input's sides over its map's, rounded down."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from zoo.models.priors.anchors import AnchorGenerator
from zoo.models.priors.points import PointGenerator

Strides = Sequence[tuple[float, float]]


class WholePixelAnchorGenerator(AnchorGenerator):
    """Anchors of each of a level's sizes and of every aspect ratio at every cell, all sizes of a ratio together.

    strides: pixels per cell and level. ratios: height / width. sizes: per level, roots of the anchors' areas in pixels.
    """

    def __init__(self, strides: Sequence[int], ratios: Sequence[float], sizes: Sequence[Sequence[float]]) -> None:
        super().__init__(strides, ratios, scales=[1.0], base_sizes=[1.0] * len(strides))
        self.scales = [torch.tensor(level).float() for level in sizes]
        self.base_anchors = [self.cell_anchors(level).round() for level in range(len(sizes))]

    def steps(self, sizes: Sequence[tuple[int, int]]) -> Strides:
        """Whole pixels per cell of each level."""
        return whole_steps(sizes, self.strides)


class WholePixelPointGenerator(PointGenerator):
    """One point at the top left corner of each cell."""

    def __init__(self, strides: Sequence[int]) -> None:
        super().__init__(strides, offset=0)

    def steps(self, sizes: Sequence[tuple[int, int]]) -> Strides:
        """Whole pixels per cell of each level."""
        return whole_steps(sizes, self.strides)


def whole_steps(sizes: Sequence[tuple[int, int]], strides: Strides) -> Strides:
    """(x, y) per level: 61 instead of 64 where 13 cells cover 800 pixels.

    sizes: (H, W) of each level's map; the first one's stride divides the input, which is padded to that end.
    """
    height, width = sizes[0][0] * strides[0][1], sizes[0][1] * strides[0][0]
    return [(width // w, height // h) for h, w in sizes]
