"""Dynamic head: attention over levels, positions and tasks (Dai et al., 2021)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.layers.conv_module import ConvModule
from zoo.models.layers.deform_conv import DeformConv
from zoo.models.layers.graph_norm import GroupNorm

# 3x3 samples: dy and dx, and a factor, for each.
OFFSETS, FACTORS = 18, 9


class NormedDeformConv(nn.Module):
    """A modulated deformable convolution with group normalization; offsets and factors are given.

    They may belong to a finer level than the input. MMCV's kernel then reads them as if they lay in memory at the
    coarser size, and the published weights are trained with that, so it is kept.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = DeformConv(in_channels, out_channels, 3, stride=stride, padding=1)
        self.norm = GroupNorm(16, out_channels)

    def forward(self, x: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, ceil(H / stride), ceil(W / stride)).

        offset: (N, 18, h, w). mask: (N, 9, h, w). h, w: the output's size or larger.
        """
        stride = self.conv.stride[0]
        size = (x.shape[2] - 1) // stride + 1, (x.shape[3] - 1) // stride + 1
        return self.norm(self.conv(x, reread(offset, size), reread(mask, size)))


def reread(x: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, C, H, W) as (N, C, *size): each image's first values in memory, row after row. No copy at equal sizes."""
    if tuple(x.shape[2:]) == size:
        return x
    values = x.flatten(1)[:, : x.shape[1] * size[0] * size[1]]
    return values.reshape(x.shape[0], x.shape[1], *size)


class DyReLU(nn.Module):
    """The larger of two lines, whose slopes and intercepts depend on the image (Chen et al., Dynamic ReLU, 2020)."""

    def __init__(self, channels: int, ratio: int = 4) -> None:
        super().__init__()
        self.conv1 = ConvModule(channels, channels // ratio, 1)
        self.conv2 = ConvModule(channels // ratio, channels * 4, 1, act_cfg={"type": "HSigmoid"})

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to the same."""
        coefficients = self.conv2(self.conv1(F.adaptive_avg_pool2d(x, 1))) - 0.5
        slope1, intercept1, slope2, intercept2 = coefficients.chunk(4, dim=1)
        return torch.max(x * (slope1 * 2 + 1) + intercept1, x * (slope2 * 2) + intercept2)


class DyHeadBlock(nn.Module):
    """Each level takes from itself and its neighbors where its own offsets say, weighs them, and switches channels."""

    def __init__(self, in_channels: int, out_channels: int, zero_init_offset: bool = True) -> None:
        super().__init__()
        self.spatial_conv_high = NormedDeformConv(in_channels, out_channels)
        self.spatial_conv_mid = NormedDeformConv(in_channels, out_channels)
        self.spatial_conv_low = NormedDeformConv(in_channels, out_channels, stride=2)
        self.spatial_conv_offset = nn.Conv2d(in_channels, OFFSETS + FACTORS, 3, padding=1)
        self.scale_attn_module = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(out_channels, 1, 1), nn.ReLU(inplace=True), nn.Hardsigmoid()
        )
        self.task_attn_module = DyReLU(out_channels)
        self.init_weights(zero_init_offset)

    def init_weights(self, zero_init_offset: bool) -> None:
        """Small weights; offsets start at zero if asked."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.01)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        if zero_init_offset:
            nn.init.zeros_(self.spatial_conv_offset.weight)

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Maps (N, in_channels, H_i, W_i), finest first, to maps (N, out_channels, H_i, W_i)."""
        return [self.forward_level(levels, i) for i in range(len(levels))]

    def forward_level(self, levels: Sequence[Tensor], i: int) -> Tensor:
        """One level's output."""
        offset, mask = self.spatial_conv_offset(levels[i]).split((OFFSETS, FACTORS), dim=1)
        mask = mask.sigmoid()
        sources = [self.spatial_conv_mid(levels[i], offset, mask)]
        if i > 0:
            sources.append(self.spatial_conv_low(levels[i - 1], offset, mask))
        if i < len(levels) - 1:
            high = self.spatial_conv_high(levels[i + 1], offset, mask)
            sources.append(F.interpolate(high, size=levels[i].shape[2:], mode="bilinear", align_corners=True))
        total = sum(source * self.scale_attn_module(source) for source in sources)
        return self.task_attn_module(total / len(sources))


class DyHead(nn.Module):
    """`num_blocks` blocks of attention over the levels of a pyramid."""

    def __init__(self, in_channels: int, out_channels: int, num_blocks: int = 6, zero_init_offset: bool = True) -> None:
        super().__init__()
        self.dyhead_blocks = nn.Sequential(
            *(
                DyHeadBlock(in_channels if i == 0 else out_channels, out_channels, zero_init_offset)
                for i in range(num_blocks)
            )
        )

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Maps (N, in_channels, H_i, W_i), finest first, to maps (N, out_channels, H_i, W_i)."""
        return tuple(self.dyhead_blocks(inputs))
