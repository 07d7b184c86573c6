"""A feature pyramid made of a single map (Li et al., ViTDet, 2022, section 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.layers.conv_module import ConvModule
from zoo.models.layers.norm import make_norm


class SimpleFPN(nn.Module):
    """The map at 4, 2, 1 and 1/2 times its resolution, each with two convolutions; further levels are subsampled.

    backbone_channel: of the map. in_channels: of the four resolutions. num_outs: levels returned.
    """

    def __init__(
        self,
        backbone_channel: int,
        in_channels: Sequence[int],
        out_channels: int,
        num_outs: int,
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] | None = None,
        act_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        width, self.num_outs = backbone_channel, num_outs
        norm = make_norm(norm_cfg, width // 2)[1] if norm_cfg else nn.Identity()
        first, second = nn.ConvTranspose2d(width, width // 2, 2, 2), nn.ConvTranspose2d(width // 2, width // 4, 2, 2)
        self.fpn1 = nn.Sequential(first, norm, nn.GELU(), second)
        self.fpn2 = nn.Sequential(nn.ConvTranspose2d(width, width // 2, 2, 2))
        self.fpn3 = nn.Sequential(nn.Identity())
        self.fpn4 = nn.Sequential(nn.MaxPool2d(kernel_size=2, stride=2))
        common: dict[str, Any] = {"conv_cfg": conv_cfg, "norm_cfg": norm_cfg, "act_cfg": act_cfg, "inplace": False}
        self.lateral_convs = nn.ModuleList(ConvModule(c, out_channels, 1, **common) for c in in_channels)
        self.fpn_convs = nn.ModuleList(
            ConvModule(out_channels, out_channels, 3, padding=1, **common) for _ in in_channels
        )

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """One map (N, C, h, w) to `num_outs` maps (N, out_channels, h_i, w_i), finest first."""
        x = inputs[0]
        maps = [self.fpn1(x), self.fpn2(x), self.fpn3(x), self.fpn4(x)]
        outputs = [conv(lateral(m)) for conv, lateral, m in zip(self.fpn_convs, self.lateral_convs, maps)]
        for _ in range(self.num_outs - len(outputs)):
            outputs.append(F.max_pool2d(outputs[-1], 1, stride=2))
        return tuple(outputs)
