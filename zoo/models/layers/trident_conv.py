"""The convolution of TridentNet (Li et al., 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TridentConv(nn.Conv2d):
    """One kernel at several dilations, a branch for each.

    test_branch_idx: the only branch at test time, -1 for all of them. The other arguments are those of `Conv2d`;
    `padding` and `dilation` have no effect.
    """

    def __init__(
        self, *args: Any, trident_dilations: Sequence[int] = (1, 2, 3), test_branch_idx: int = 1, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.trident_dilations, self.test_branch_idx = tuple(trident_dilations), test_branch_idx

    def forward(self, x: Tensor) -> Tensor:
        """(B * N, in_channels, H, W), branch by branch, to (B * N, out_channels, H', W')."""
        dilations = self.trident_dilations
        if not self.training and self.test_branch_idx >= 0:
            dilations = (dilations[self.test_branch_idx],)
        parts = x.chunk(len(dilations))
        return torch.cat([self.convolve(part, dilation) for part, dilation in zip(parts, dilations)])

    def convolve(self, x: Tensor, dilation: int) -> Tensor:
        """One branch."""
        stride: Any = self.stride
        return F.conv2d(x, self.weight, self.bias, stride, dilation, dilation, self.groups)
