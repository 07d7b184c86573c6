"""Corner pooling (Law and Deng, CornerNet, 2018, section 3.3)."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.layers.conv_module import ConvModule

BN = {"type": "BN", "requires_grad": True}
# Direction -> the dimension that is scanned, and whether from its end.
DIRECTIONS = {"bottom": (2, False), "left": (3, True), "right": (3, False), "top": (2, True)}


def corner_pool(x: Tensor, direction: str) -> Tensor:
    """(N, C, H, W): each cell becomes the maximum of itself and all cells that lie before it.

    direction: "top" looks from each cell downwards, "left" to the right, "bottom" upwards, "right" to the left.
    """
    dim, backwards = DIRECTIONS[direction]
    if backwards:
        return x.flip(dim).cummax(dim).values.flip(dim)
    return x.cummax(dim).values


class BiCornerPool(nn.Module):
    """Pooling in two directions, so that a corner gathers what lies along both of its sides."""

    def __init__(
        self, in_channels: int, directions: tuple[str, str], feat_channels: int = 128, out_channels: int = 128
    ) -> None:
        super().__init__()
        self.directions = directions
        options: dict[str, Any] = {"padding": 1, "norm_cfg": BN}
        self.direction1_conv = ConvModule(in_channels, feat_channels, 3, **options)
        self.direction2_conv = ConvModule(in_channels, feat_channels, 3, **options)
        self.aftpool_conv = ConvModule(feat_channels, out_channels, 3, act_cfg=None, **options)
        self.conv1 = ConvModule(in_channels, out_channels, 1, norm_cfg=BN, act_cfg=None)
        self.conv2 = ConvModule(in_channels, out_channels, 3, **options)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H, W)."""
        first = corner_pool(self.direction1_conv(x), self.directions[0])
        second = corner_pool(self.direction2_conv(x), self.directions[1])
        return self.conv2(F.relu(self.aftpool_conv(first + second) + self.conv1(x)))
