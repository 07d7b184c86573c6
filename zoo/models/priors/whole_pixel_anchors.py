"""Anchors as torchvision makes them: sizes in pixels for each level, corners rounded to whole pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from zoo.models.priors.anchors import AnchorGenerator


class WholePixelAnchorGenerator(AnchorGenerator):
    """Anchors of each of a level's sizes and of every aspect ratio at every cell, all sizes of a ratio together.

    strides: pixels per cell and level. ratios: height / width. sizes: per level, roots of the anchors' areas in pixels.
    """

    def __init__(self, strides: Sequence[int], ratios: Sequence[float], sizes: Sequence[Sequence[float]]) -> None:
        super().__init__(strides, ratios, scales=[1.0], base_sizes=[1.0] * len(strides))
        self.scales = [torch.tensor(level).float() for level in sizes]
        self.base_anchors = [self.cell_anchors(level).round() for level in range(len(sizes))]
