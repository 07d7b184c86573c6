"""Cross stage partial layers (Wang et al., CSPNet, 2019), as YOLOX builds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.layers.conv_module import ConvModule, DepthwiseSeparableConv
from zoo.models.layers.memory_format import added

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


class CSPLayer(nn.Module):
    """Half of the channels go through `num_blocks` bottlenecks, the other half around them."""

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
    ) -> None:
        super().__init__()
        common: dict[str, Any] = {"conv_cfg": conv_cfg, "norm_cfg": norm_cfg, "act_cfg": act_cfg}
        middle = int(out_channels * 0.5)
        self.main_conv = ConvModule(in_channels, middle, 1, **common)
        self.short_conv = ConvModule(in_channels, middle, 1, **common)
        self.final_conv = ConvModule(2 * middle, out_channels, 1, **common)
        self.blocks = nn.Sequential(
            *(DarknetBottleneck(middle, add_identity, use_depthwise, **common) for _ in range(num_blocks))
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H, W)."""
        return self.final_conv(torch.cat([self.blocks(self.main_conv(x)), self.short_conv(x)], dim=1))
