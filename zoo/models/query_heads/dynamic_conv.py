"""Convolutions whose weights come from a query (Sun et al., Sparse R-CNN, 2021, section 3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from zoo.models.layers.activation import make_activation
from zoo.models.layers.norm import make_norm
from zoo.models.transformer.feedforward import RELU
from zoo.models.transformer.layers import LN


class DynamicConv(nn.Module):
    """Two 1x1 convolutions on a region's cells, with weights made from its query.

    input_feat_shape: height and width of a region. with_proj: a linear layer makes one vector of the region.
    """

    def __init__(
        self,
        in_channels: int = 256,
        feat_channels: int = 64,
        out_channels: int | None = None,
        input_feat_shape: int = 7,
        with_proj: bool = True,
        act_cfg: Mapping[str, Any] = RELU,
        norm_cfg: Mapping[str, Any] = LN,
    ) -> None:
        super().__init__()
        out_channels = out_channels or in_channels
        self.shapes = ((in_channels, feat_channels), (feat_channels, out_channels))
        self.dynamic_layer = nn.Linear(in_channels, sum(a * b for a, b in self.shapes))
        self.norm_in = make_norm(norm_cfg, feat_channels)[1]
        self.norm_out = make_norm(norm_cfg, out_channels)[1]
        self.activation = make_activation(act_cfg)
        self.with_proj = with_proj
        if with_proj:
            self.fc_layer = nn.Linear(out_channels * input_feat_shape**2, out_channels)
            self.fc_norm = make_norm(norm_cfg, out_channels)[1]

    def forward(self, queries: Tensor, regions: Tensor) -> Tensor:
        """queries (M, C) and regions (M, C, h, w) to (M, out_channels), or unprojected (M, h * w, out_channels)."""
        norms = (self.norm_in, self.norm_out)
        x = weighted(self.dynamic_layer(queries), regions, self.shapes, norms, self.activation)
        return self.activation(self.fc_norm(self.fc_layer(x.flatten(1)))) if self.with_proj else x


def weighted(
    weights: Tensor,
    regions: Tensor,
    shapes: Sequence[tuple[int, int]],
    norms: Sequence[nn.Module],
    activation: Callable[[Tensor], Tensor],
) -> Tensor:
    """Regions (M, C, h, w) through 1x1 convolutions with weights of their own, (M, h * w, channels).

    weights: (M, P), of all convolutions behind each other, whose `shapes` are (input, output) channels.
    """
    x = regions.flatten(2).transpose(1, 2)
    for weight, shape, norm in zip(weights.split([a * b for a, b in shapes], dim=1), shapes, norms):
        x = activation(norm(x @ weight.view(-1, *shape)))
    return x
