"""A few linear layers with ReLU between them (Carion et al., DETR, 2020)."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn


class MLP(nn.Module):
    """`num_layers` linear layers: `in_channels`, then `channels`, at last `out_channels`."""

    def __init__(self, in_channels: int, channels: int, out_channels: int, num_layers: int) -> None:
        super().__init__()
        widths = [in_channels, *[channels] * (num_layers - 1), out_channels]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_channels) to (..., out_channels)."""
        *hidden, last = self.layers
        for layer in hidden:
            x = F.relu(layer(x))
        out: Tensor = last(x)
        return out
