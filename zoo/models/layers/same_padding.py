"""Convolution with TensorFlow's "SAME" padding."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn


class SamePaddingConv(nn.Conv2d):
    """Pads so that the output has ceil(size / stride) cells; an odd pixel goes below and to the right.

    The arguments are those of `Conv2d`; `padding` has no effect.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.padding = (0, 0)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, ceil(H / stride), ceil(W / stride))."""
        down, across = (self.missing(i, x.shape[2 + i]) for i in (0, 1))
        if down or across:
            x = F.pad(x, (across // 2, across - across // 2, down // 2, down - down // 2))
        return super().forward(x)

    def missing(self, axis: int, size: int) -> int:
        """Pixels to add along an axis of `size` pixels."""
        steps = -(-size // self.stride[axis]) - 1
        reach = (self.kernel_size[axis] - 1) * self.dilation[axis] + 1
        return max(steps * self.stride[axis] + reach - size, 0)
