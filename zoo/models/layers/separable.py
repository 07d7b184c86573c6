"""EfficientDet's bricks, with TensorFlow's "SAME" padding (Tan et al., 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.layers.norm import make_norm
from zoo.models.layers.same_padding import SamePaddingConv

BN = {"type": "BN", "momentum": 1e-2, "eps": 1e-3}


class SeparableConv(nn.Module):
    """A depthwise 3x3 convolution without a bias, a pointwise one with it, optional normalization and activation."""

    def __init__(
        self, in_channels: int, out_channels: int, norm_cfg: Mapping[str, Any] | None = None, activate: bool = False
    ) -> None:
        super().__init__()
        self.depthwise_conv = SamePaddingConv(in_channels, in_channels, 3, groups=in_channels, bias=False)
        self.pointwise_conv = SamePaddingConv(in_channels, out_channels, 1)
        self.bn = make_norm(norm_cfg, out_channels)[1] if norm_cfg else nn.Identity()
        self.activate = nn.SiLU() if activate else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H, W)."""
        return self.activate(self.bn(self.pointwise_conv(self.depthwise_conv(x))))


class DownChannel(nn.Module):
    """A 1x1 convolution, optional normalization and activation."""

    def __init__(
        self, in_channels: int, out_channels: int, norm_cfg: Mapping[str, Any] | None = None, activate: bool = False
    ) -> None:
        super().__init__()
        self.down_conv = SamePaddingConv(in_channels, out_channels, 1)
        self.bn = make_norm(norm_cfg, out_channels)[1] if norm_cfg else nn.Identity()
        self.activate = nn.SiLU() if activate else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H, W)."""
        return self.activate(self.bn(self.down_conv(x)))


class SamePaddingPool(nn.Module):
    """The maximum of 3x3 cells, every other one; beyond the border are zeros, as in the reference."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, ceil(H / 2), ceil(W / 2))."""
        down, across = ((-(-size // 2) - 1) * 2 - size + 3 for size in x.shape[2:])
        return F.max_pool2d(F.pad(x, (across // 2, across - across // 2, down // 2, down - down // 2)), 3, 2)
