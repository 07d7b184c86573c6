"""Semantic segmentation on a feature pyramid (Kirillov et al., Panoptic Feature Pyramid Networks, 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.layers.conv_stack import conv_stack

GN = {"type": "GN", "num_groups": 32}


class PanopticFPNHead(nn.Module):
    """Every level is brought to the finest resolution step by step; their sum is classified.

    start_level, end_level: which levels take part. The last class stands for all things together.
    """

    learns_semantic = True

    def __init__(
        self,
        num_things_classes: int = 80,
        num_stuff_classes: int = 53,
        in_channels: int = 256,
        inner_channels: int = 128,
        start_level: int = 0,
        end_level: int = 4,
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] | None = GN,
        loss_seg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.num_things_classes, self.num_stuff_classes = num_things_classes, num_stuff_classes
        self.start_level, self.loss_cfg = start_level, {"seg": loss_seg}
        self.conv_upsample_layers = nn.ModuleList(
            ConvUpsample(in_channels, inner_channels, i, conv_cfg=conv_cfg, norm_cfg=norm_cfg)
            for i in range(start_level, end_level)
        )
        self.conv_logits = nn.Conv2d(inner_channels, num_stuff_classes + 1, 1)
        nn.init.normal_(self.conv_logits.weight, std=0.01)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Pyramid levels (N, C, H, W), finest first, to logits (N, num_stuff_classes + 1, H, W) of the finest."""
        maps = [layer(x) for layer, x in zip(self.conv_upsample_layers, features[self.start_level :])]
        return self.conv_logits(torch.stack(maps).sum(dim=0))


class ConvUpsample(nn.Module):
    """`doublings` convolutions, each followed by doubling the resolution; one convolution alone for none."""

    def __init__(self, in_channels: int, channels: int, doublings: int, **kwargs: Any) -> None:
        super().__init__()
        self.doublings = doublings
        self.conv = conv_stack(max(doublings, 1), in_channels, channels, **kwargs)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, channels, H * 2 ** doublings, W * 2 ** doublings)."""
        for layer in self.conv:
            x = layer(x)
            if self.doublings:
                x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        return x
