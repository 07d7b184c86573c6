"""Cross stage partial layers (Wang et al., CSPNet, 2019), as YOLOX and RTMDet build them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.layers.conv_module import ConvModule, DepthwiseSeparableConv
from zoo.models.layers.memory_format import added
from zoo.models.layers.squeeze_excitation import ChannelAttention

YOLOX_BN = {"type": "BN", "momentum": 0.03, "eps": 0.001}
SWISH = {"type": "Swish"}


class DarknetBottleneck(nn.Module):
    """A 1x1 and a 3x3 convolution with an optional shortcut."""

    def __init__(self, channels: int, add_identity: bool, use_depthwise: bool, **kwargs: Any) -> None:
        super().__init__()
        conv = DepthwiseSeparableConv if use_depthwise else ConvModule
        self.conv1 = ConvModule(channels, channels, 1, **kwargs)
        self.conv2 = conv(channels, channels, 3, padding=1, **kwargs)
        self.add_identity = add_identity

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to the same."""
        out = self.conv2(self.conv1(x))
        return added(out, x) if self.add_identity else out


class CSPNeXtBlock(nn.Module):
    """A 3x3 and a separable 5x5 convolution with an optional shortcut (Lyu et al., RTMDet, 2022, section 3.2)."""

    def __init__(self, channels: int, add_identity: bool, use_depthwise: bool, **kwargs: Any) -> None:
        super().__init__()
        conv = DepthwiseSeparableConv if use_depthwise else ConvModule
        plain = {key: value for key, value in kwargs.items() if key != "conv_cfg"}  # as in the reference
        self.conv1 = conv(channels, channels, 3, padding=1, **plain)
        self.conv2 = DepthwiseSeparableConv(channels, channels, 5, padding=2, **kwargs)
        self.add_identity = add_identity

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to the same."""
        out = self.conv2(self.conv1(x))
        return added(out, x) if self.add_identity else out


class CSPLayer(nn.Module):
    """A part of the channels goes through `num_blocks` bottlenecks, an equal part around them.

    expand_ratio: of either part to `out_channels`. block: the kind of bottleneck. channel_attention: both parts are
    weighed channel by channel before they are joined.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_blocks: int = 1,
        add_identity: bool = True,
        use_depthwise: bool = False,
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] = YOLOX_BN,
        act_cfg: Mapping[str, Any] = SWISH,
        expand_ratio: float = 0.5,
        block: type[DarknetBottleneck] | type[CSPNeXtBlock] = DarknetBottleneck,
        channel_attention: bool = False,
    ) -> None:
        super().__init__()
        common: dict[str, Any] = {"conv_cfg": conv_cfg, "norm_cfg": norm_cfg, "act_cfg": act_cfg}
        middle = int(out_channels * expand_ratio)
        self.main_conv = ConvModule(in_channels, middle, 1, **common)
        self.short_conv = ConvModule(in_channels, middle, 1, **common)
        self.final_conv = ConvModule(2 * middle, out_channels, 1, **common)
        self.blocks = nn.Sequential(*(block(middle, add_identity, use_depthwise, **common) for _ in range(num_blocks)))
        self.attention = ChannelAttention(2 * middle) if channel_attention else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H, W)."""
        both = torch.cat([self.blocks(self.main_conv(x)), self.short_conv(x)], dim=1)
        return self.final_conv(both if self.attention is None else self.attention(both))
