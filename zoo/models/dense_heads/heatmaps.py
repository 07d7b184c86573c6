"""Peaks of heatmaps (Law and Deng, CornerNet, 2018; Zhou et al., Objects as Points, 2019)."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor


@dataclass
class Peaks:
    """The best peaks of one image, best first, K of them.

    scores: (K,). labels: (K,). positions: (K,), cells counted row by row. x, y: (K,) float, in cells.
    """

    scores: Tensor
    labels: Tensor
    positions: Tensor
    x: Tensor
    y: Tensor

    def read(self, values: Tensor) -> Tensor:
        """What a map (C, H, W) says at the peaks: (K, C)."""
        return values.flatten(1)[:, self.positions].T


def find_peaks(heat: Tensor, count: int, kernel: int = 3) -> Peaks:
    """The `count` best local maxima of all classes. heat: (C, H, W). kernel: side of the neighborhood, odd."""
    highest = F.max_pool2d(heat[None], kernel, stride=1, padding=(kernel - 1) // 2)[0]
    peaks = heat * (highest == heat)
    scores, index = peaks.flatten().topk(min(count, peaks.numel()))
    width, cells = heat.shape[2], heat.shape[1] * heat.shape[2]
    positions = index % cells
    return Peaks(scores, index // cells, positions, (positions % width).float(), (positions // width).float())
