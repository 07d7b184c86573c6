"""FoveaBox's head (Kong et al., Beyond Anchor-based Object Detector, 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.dense_heads.anchor_head import AnchorHead
from zoo.models.dense_heads.fcos import FOCAL
from zoo.models.dense_heads.towers import init_dense, over_levels, run, tower
from zoo.models.layers.conv import make_conv
from zoo.models.layers.conv_module import ConvModule
from zoo.models.priors.points import PointGenerator

RANGES = ((8, 32), (16, 64), (32, 128), (64, 256), (128, 512))


class FoveaCoder:
    """Sides at exponential distances from a point, in units of the level's base edge; clipped to the last pixel.

    base_edges: stride -> pixels per unit.
    """

    def __init__(self, base_edges: Mapping[float, float]) -> None:
        self.base_edges = base_edges

    def decode(self, points: Tensor, sides: Tensor, size: tuple[int, int]) -> Tensor:
        """Boxes (K, 4) xyxy. points: (K, 4) x, y and strides. sides: (K, 4) logarithms of left, top, right, bottom."""
        distances = sides.exp() * self.edges(points[:, 2:3])
        boxes = torch.cat([points[:, :2] - distances[:, :2], points[:, :2] + distances[:, 2:]], dim=1)
        return clip(boxes, (size[0] - 1, size[1] - 1))
