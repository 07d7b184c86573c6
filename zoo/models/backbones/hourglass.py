"""Stacked hourglass networks (Newell et al., 2016), as CornerNet builds them (Law and Deng, 2018)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.backbones.residual import BN, BasicBlock, make_shortcut, make_stage
from zoo.models.layers.conv_module import ConvModule


class HourglassModule(nn.Module):
    """Down `depth` times and up again, with a shortcut at every resolution.

    stage_channels, stage_blocks: channels and residual blocks at this and the coarser resolutions.
    """

    def __init__(
        self, depth: int, stage_channels: Sequence[int], stage_blocks: Sequence[int], norm_cfg: Mapping[str, Any]
    ) -> None:
        super().__init__()
        channels, coarser, blocks = stage_channels[0], stage_channels[1], stage_blocks[0]
        self.up1 = make_stage(BasicBlock, blocks, channels, channels, norm_cfg=norm_cfg)
        self.low1 = make_stage(BasicBlock, blocks, channels, coarser, stride=2, norm_cfg=norm_cfg)
        self.low2: nn.Module
        if depth > 1:
            self.low2 = HourglassModule(depth - 1, stage_channels[1:], stage_blocks[1:], norm_cfg)
        else:
            self.low2 = make_stage(BasicBlock, stage_blocks[1], coarser, coarser, norm_cfg=norm_cfg)
        self.low3 = make_ascent(coarser, channels, blocks, norm_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        up = self.up1(x)
        low = self.low3(self.low2(self.low1(x)))
        return up + F.interpolate(low, size=up.shape[2:], mode="nearest")


def make_ascent(inplanes: int, planes: int, blocks: int, norm_cfg: Mapping[str, Any]) -> nn.Sequential:
    """Residual blocks of which the last changes the number of channels."""
    layers = [BasicBlock(inplanes, inplanes, norm_cfg=norm_cfg) for _ in range(blocks - 1)]
    shortcut = make_shortcut(inplanes, planes, 1, False, None, norm_cfg) if inplanes != planes else None
    return nn.Sequential(*layers, BasicBlock(inplanes, planes, downsample=shortcut, norm_cfg=norm_cfg))


class HourglassNet(nn.Module):
    """A stem to a quarter of the resolution and `num_stacks` hourglasses; returns the output of each.

    downsample_times: of each hourglass. stage_channels, stage_blocks: per resolution. feat_channel: of the outputs.
    """

    def __init__(
        self,
        downsample_times: int = 5,
        num_stacks: int = 2,
        stage_channels: Sequence[int] = (256, 256, 384, 384, 384, 512),
        stage_blocks: Sequence[int] = (2, 2, 2, 2, 2, 4),
        feat_channel: int = 256,
        norm_cfg: Mapping[str, Any] = BN,
    ) -> None:
        super().__init__()
        channels, between = stage_channels[0], num_stacks - 1
        self.stem = nn.Sequential(
            ConvModule(3, channels // 2, 7, stride=2, padding=3, norm_cfg=norm_cfg),
            make_stage(BasicBlock, 1, channels // 2, channels, stride=2, norm_cfg=norm_cfg),
        )
        self.hourglass_modules = nn.ModuleList(
            HourglassModule(downsample_times, stage_channels, stage_blocks, norm_cfg) for _ in range(num_stacks)
        )
        self.inters = make_stage(BasicBlock, between, channels, channels, norm_cfg=norm_cfg)
        self.conv1x1s = nn.ModuleList(
            ConvModule(channels, channels, 1, norm_cfg=norm_cfg, act_cfg=None) for _ in range(between)
        )
        self.out_convs = nn.ModuleList(
            ConvModule(channels, feat_channel, 3, padding=1, norm_cfg=norm_cfg) for _ in range(num_stacks)
        )
        self.remap_convs = nn.ModuleList(
            ConvModule(feat_channel, channels, 1, norm_cfg=norm_cfg, act_cfg=None) for _ in range(between)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) to `num_stacks` maps (N, feat_channel, H / 4, W / 4)."""
        x, outputs = self.stem(x), []
        for i, (hourglass, out_conv) in enumerate(zip(self.hourglass_modules, self.out_convs)):
            outputs.append(out_conv(hourglass(x)))
            if i < len(self.conv1x1s):
                x = self.inters(F.relu(self.conv1x1s[i](x) + self.remap_convs[i](outputs[-1])))
        return tuple(outputs)
