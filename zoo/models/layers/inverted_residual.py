"""Inverted residual blocks (Sandler et al., MobileNetV2, 2018; with squeeze and excitation: Tan and Le, 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from zoo.models.layers.conv_module import RELU, ConvModule
from zoo.models.layers.squeeze_excitation import SELayer
from zoo.models.layers.stochastic_depth import StochasticDepth


class InvertedResidual(nn.Module):
    """A 1x1 convolution to `mid_channels`, a depthwise one, and a linear 1x1 one; a shortcut where shapes allow.

    Without a change of width, there is no first convolution. se: squeeze and excitation of the hidden channels.
    drop_path_rate: of stochastic depth.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        mid_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        se: SELayer | None = None,
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] | None = None,
        act_cfg: Mapping[str, Any] = RELU,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        common: dict[str, Any] = {"conv_cfg": conv_cfg, "norm_cfg": norm_cfg}
        self.shortcut = stride == 1 and in_channels == out_channels
        self.expand_conv = None
        if mid_channels != in_channels:
            self.expand_conv = ConvModule(in_channels, mid_channels, 1, act_cfg=act_cfg, **common)
        self.depthwise_conv = ConvModule(
            mid_channels,
            mid_channels,
            kernel_size,
            stride,
            kernel_size // 2,
            groups=mid_channels,
            act_cfg=act_cfg,
            **common,
        )
        self.se = se
        self.linear_conv = ConvModule(mid_channels, out_channels, 1, act_cfg=None, **common)
        self.drop_path = StochasticDepth(drop_path_rate)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H / stride, W / stride)."""
        out = self.project(self.expand(x))
        return x + self.drop_path(out) if self.shortcut else out

    def expand(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, mid_channels, H, W)."""
        return x if self.expand_conv is None else self.expand_conv(x)

    def project(self, x: Tensor) -> Tensor:
        """(N, mid_channels, H, W) to (N, out_channels, H / stride, W / stride)."""
        x = self.depthwise_conv(x)
        return self.linear_conv(x if self.se is None else self.se(x))


def make_divisible(value: float, divisor: int = 8) -> int:
    """The multiple of `divisor` next to `value`, at least `divisor` and more than 0.9 times `value`."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded
