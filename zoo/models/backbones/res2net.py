"""Res2Net (Gao et al., 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.backbones.residual import Bottleneck, deformable
from zoo.models.backbones.resnet import ResNet, plan
from zoo.models.layers.conv import make_conv
from zoo.models.layers.norm import make_norm


class Bottle2neck(Bottleneck):
    """A bottleneck with a row of small 3x3 convolutions: each sees its share of the channels and the last one's result.

    groups: number of shares (the paper's scale). first: the first block of a stage, in which the shares stay apart and
    the last one, which no convolution sees, is pooled to the stride.
    """

    def __init__(self, *args: Any, first: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.first = first

    def add_middle(
        self,
        width: int,
        stride: int,
        dilation: int,
        groups: int,
        conv_cfg: Mapping[str, Any] | None,
        norm_cfg: Mapping[str, Any],
        dcn: Mapping[str, Any] | None,
    ) -> None:
        """One convolution fewer than there are shares."""
        share, self.scales = width // groups, groups
        geometry: dict[str, Any] = {"stride": stride, "padding": dilation, "dilation": dilation, "bias": False}
        self.convs = nn.ModuleList(
            make_conv(deformable(dcn) or conv_cfg, share, share, 3, **geometry) for _ in range(groups - 1)
        )
        self.bns = nn.ModuleList(make_norm(norm_cfg, share)[1] for _ in range(groups - 1))
        self.pool = nn.AvgPool2d(3, stride, padding=1) if stride > 1 else nn.Identity()

    def middle(self, x: Tensor) -> Tensor:
        """(N, width, H, W) to (N, width, H / stride, W / stride)."""
        shares = x.chunk(self.scales, dim=1)
        outputs: list[Tensor] = []
        for share, conv, norm in zip(shares, self.convs, self.bns):
            share = share if self.first or not outputs else share + outputs[-1]
            outputs.append(self.relu(norm(conv(share))))
        return torch.cat([*outputs, self.pool(shares[-1])], dim=1)


BLOCKS = {50: (Bottle2neck, (3, 4, 6, 3)), 101: (Bottle2neck, (3, 4, 23, 3)), 152: (Bottle2neck, (3, 8, 36, 3))}


class Res2Net(ResNet):
    """ResNet-D with multi-scale bottlenecks: `scales` shares of `base_width` channels each.

    The other arguments are those of `ResNet`.
    """

    def __init__(
        self,
        depth: int,
        scales: int = 4,
        base_width: int = 26,
        num_stages: int = 4,
        base_channels: int = 64,
        deep_stem: bool = True,
        avg_down: bool = True,
        **kwargs: Any,
    ) -> None:
        stages = plan(BLOCKS, depth, num_stages, base_channels, {"first": True}, groups=scales, base_width=base_width)
        super().__init__(
            depth, base_channels=base_channels, deep_stem=deep_stem, avg_down=avg_down, stages=stages, **kwargs
        )
