"""Attention of every position to every other one (Wang et al., Non-local Neural Networks, 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.layers.conv_module import ConvModule


class NonLocal2d(nn.Module):
    """Dot-product attention over a feature map, added to it.

    reduction: of the channels inside. use_scale: whether similarities are divided by the root of the channels.
    sub_sample: keys and values are pooled to half the resolution.
    """

    def __init__(
        self,
        in_channels: int,
        reduction: int = 2,
        use_scale: bool = True,
        sub_sample: bool = False,
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        inner = max(in_channels // reduction, 1)
        self.scale = inner**-0.5 if use_scale else 1.0
        common: dict[str, Any] = {"conv_cfg": conv_cfg, "act_cfg": None}
        self.theta, phi, g = (ConvModule(in_channels, inner, 1, **common) for _ in range(3))
        self.phi: nn.Module = nn.Sequential(phi, nn.MaxPool2d(2)) if sub_sample else phi
        self.g: nn.Module = nn.Sequential(g, nn.MaxPool2d(2)) if sub_sample else g
        self.conv_out = ConvModule(inner, in_channels, 1, norm_cfg=norm_cfg, **common)
        for layer in (self.theta, phi, g):
            nn.init.normal_(layer.conv.weight, std=0.01)
        nn.init.zeros_(self.conv_out.conv.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to the same."""
        query, key, value = (layer(x).flatten(2).transpose(1, 2) for layer in (self.theta, self.phi, self.g))
        out = F.scaled_dot_product_attention(query, key, value, scale=self.scale)
        return x + self.conv_out(out.transpose(1, 2).reshape(x.shape[0], -1, *x.shape[2:]))
