"""The feed-forward part of a transformer layer (Vaswani et al., 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from zoo.models.layers.activation import make_activation
from zoo.models.layers.rows import by_rows
from zoo.models.transformer.attention import make_dropout

RELU = {"type": "ReLU", "inplace": True}


class FFN(nn.Module):
    """`num_fcs` linear layers with activations between them, and a shortcut around them.

    ffn_drop: dropout behind each layer. add_identity: whether there is a shortcut, dropout_layer: in front of it.
    """

    def __init__(
        self,
        embed_dims: int = 256,
        feedforward_channels: int = 1024,
        num_fcs: int = 2,
        act_cfg: Mapping[str, Any] = RELU,
        ffn_drop: float = 0.0,
        dropout_layer: Mapping[str, Any] | None = None,
        add_identity: bool = True,
    ) -> None:
        super().__init__()
        hidden, channels = [], embed_dims
        for _ in range(num_fcs - 1):
            linear = nn.Linear(channels, feedforward_channels)
            hidden.append(nn.Sequential(linear, make_activation(act_cfg), nn.Dropout(ffn_drop)))
            channels = feedforward_channels
        self.layers = nn.Sequential(*hidden, nn.Linear(channels, embed_dims), nn.Dropout(ffn_drop))
        self.dropout_layer = make_dropout(dropout_layer)
        self.add_identity, self.width = add_identity, feedforward_channels

    def forward(self, x: Tensor, identity: Tensor | None = None) -> Tensor:
        """(..., embed_dims) to the same. identity: what the shortcut carries, `x` if not given."""
        out = self.dropout_layer(by_rows(self.layers, self.layers, x, self.width))
        if not self.add_identity:
            return out
        return (x if identity is None else identity) + out
