"""Anchors as torchvision makes them: sizes in pixels for each level, corners rounded to whole pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zoo.models.priors.anchors import AnchorGenerator


class WholePixelAnchorGenerator(AnchorGenerator):
    """Anchors of each of a level's sizes and of every aspect ratio at every cell, all sizes of a ratio together.

    strides: pixels per cell and level. ratios: height / width. sizes: per level, roots of the anchors' areas in pixels.
    """

    def __init__(self, strides: Sequence[int], ratios: Sequence[float], sizes: Sequence[Sequence[float]]) -> None:
        self.sizes = [torch.tensor(list(level), dtype=torch.float32) for level in sizes]
        super().__init__(strides, ratios, scales=[1.0])

    def cell_anchors(self, level: int) -> Tensor:
        """Anchors (A, 4) xyxy of the first cell of a level."""
        tall = self.ratios.sqrt()
        heights, widths = ((side[:, None] * self.sizes[level]).flatten() for side in (tall, 1 / tall))
        return (torch.stack([-widths, -heights, widths, heights], dim=-1) / 2).round()
