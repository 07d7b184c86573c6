"""Squeeze and excitation (Hu et al., 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from zoo.models.layers.conv_module import RELU, ConvModule

SIGMOID = {"type": "Sigmoid"}


class SELayer(nn.Module):
    """Scales each channel by a factor in (0, 1) that depends on all channels' means.

    hidden: channels between the two layers. gate_cfg: what makes the factors.
    """

    def __init__(
        self,
        channels: int,
        hidden: int,
        act_cfg: Mapping[str, Any] = RELU,
        gate_cfg: Mapping[str, Any] = SIGMOID,
    ) -> None:
        super().__init__()
        self.conv1 = ConvModule(channels, hidden, 1, act_cfg=act_cfg)
        self.conv2 = ConvModule(hidden, channels, 1, act_cfg=gate_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to the same."""
        return x * self.conv2(self.conv1(x.mean(dim=(2, 3), keepdim=True)))


class ChannelAttention(nn.Module):
    """Scales each channel by the hard sigmoid of one layer over all channels' means (RTMDet)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Conv2d(channels, channels, 1)
        self.act = nn.Hardsigmoid(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to the same."""
        return x * self.act(self.fc(x.mean(dim=(2, 3), keepdim=True)))
