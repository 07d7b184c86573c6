"""HRNet's feature pyramid, HRNetV2p (Wang et al., 2019, section 3.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.layers.conv_module import ConvModule


class HRFPN(nn.Module):
    """All branches at the finest resolution side by side, reduced, and pooled to `num_outs` levels.

    in_channels: of each branch, finest first. pooling_type: "AVG" or "MAX". stride: of the last convolutions.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        num_outs: int = 5,
        pooling_type: str = "AVG",
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] | None = None,
        stride: int = 1,
    ) -> None:
        super().__init__()
        self.reduction_conv = ConvModule(sum(in_channels), out_channels, 1, conv_cfg=conv_cfg, act_cfg=None)
        self.fpn_convs = nn.ModuleList(
            ConvModule(out_channels, out_channels, 3, stride, 1, conv_cfg=conv_cfg, act_cfg=None)
            for _ in range(num_outs)
        )
        self.pool = F.max_pool2d if pooling_type == "MAX" else F.avg_pool2d

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Branches (N, C_i, H / 2^i, W / 2^i) to `num_outs` maps (N, out_channels, H / 2^i, W / 2^i)."""
        upsampled = [inputs[0]]
        for i, x in enumerate(inputs[1:], start=1):
            upsampled.append(F.interpolate(x, scale_factor=2**i, mode="bilinear"))
        fused = self.reduction_conv(torch.cat(upsampled, dim=1))
        levels = [fused] + [self.pool(fused, kernel_size=2**i, stride=2**i) for i in range(1, len(self.fpn_convs))]
        return tuple(conv(x) for conv, x in zip(self.fpn_convs, levels))
