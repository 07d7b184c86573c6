"""Recursive feature pyramid (Qiao et al., DetectoRS, 2020, section 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.build import component
from zoo.models.necks.fpn import FPN


class ASPP(nn.Module):
    """Convolutions at several dilations side by side, the last one on the mean of the map (Chen et al., 2017)."""

    def __init__(self, in_channels: int, out_channels: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.aspp = nn.ModuleList(
            nn.Conv2d(in_channels, out_channels, 3, padding=d, dilation=d)
            if d > 1
            else nn.Conv2d(in_channels, out_channels, 1)
            for d in dilations
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels * len(dilations), H, W)."""
        *local, pooled = self.aspp
        mean = pooled(x.mean(dim=(2, 3), keepdim=True)).expand(-1, -1, *x.shape[2:])
        return F.relu(torch.cat([*(conv(x) for conv in local), mean], dim=1))


class RFP(FPN):
    """A feature pyramid that is fed back to further backbones: `rfp_steps` times in all.

    rfp_backbone: description of the further backbones, whose feedback comes through atrous spatial pyramid pooling
    (`aspp_out_channels` for each of `aspp_dilations`). The other arguments are those of `FPN`.
    """

    def __init__(
        self,
        rfp_steps: int,
        rfp_backbone: Mapping[str, Any],
        aspp_out_channels: int,
        in_channels: Sequence[int],
        out_channels: int,
        num_outs: int,
        aspp_dilations: Sequence[int] = (1, 3, 6, 1),
        **kwargs: Any,
    ) -> None:
        super().__init__(in_channels, out_channels, num_outs, **kwargs)
        self.rfp_modules = nn.ModuleList(component(rfp_backbone) for _ in range(1, rfp_steps))
        self.rfp_aspp = ASPP(out_channels, aspp_out_channels, aspp_dilations)
        self.rfp_weight = nn.Conv2d(out_channels, 1, 1)
        nn.init.zeros_(self.rfp_weight.weight)
        nn.init.zeros_(self.rfp_weight.bias)  # type: ignore[arg-type]

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The image (N, 3, H, W) and its maps (N, C_i, H_i, W_i) to `num_outs` maps (N, out_channels, H_i, W_i)."""
        image, *maps = inputs
        levels = super().forward(maps)
        for backbone in self.rfp_modules:
            feedback = [None] + [self.rfp_aspp(x) for x in levels[1 : len(maps)]]
            again = super().forward(backbone.look_again(image, feedback))  # type: ignore[operator]
            levels = tuple(self.blend(new, old) for new, old in zip(again, levels))
        return levels

    def blend(self, new: Tensor, old: Tensor) -> Tensor:
        """Both (N, C, H, W), weighted per pixel."""
        weight = self.rfp_weight(new).sigmoid()
        return weight * new + (1 - weight) * old
