"""DETR's transformer (Carion et al., 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.build import component
from zoo.models.transformer.layers import init_transformer
from zoo.models.transformer.padding import tokens


class Transformer(nn.Module):
    """An encoder over the cells of a feature map and a decoder over object queries."""

    def __init__(self, encoder: Mapping[str, Any], decoder: Mapping[str, Any]) -> None:
        super().__init__()
        self.encoder, self.decoder = component(encoder), component(decoder)
        self.embed_dims = self.encoder.embed_dims
        init_transformer(self)

    def forward(self, features: Tensor, padding: Tensor, queries: Tensor, positions: Tensor) -> Tensor:
        """The queries' states after each decoder layer, (layers, N, Q, C).

        features: (N, C, H, W). padding: (N, H, W) bool. queries: (Q, C), learned positions.
        positions: (N, C, H, W).
        """
        padding, positions = padding.flatten(1), tokens(positions)
        memory = self.encoder(tokens(features), query_pos=positions, query_padding=padding)
        query_pos = queries.expand(features.shape[0], -1, -1)
        return self.decoder(
            torch.zeros_like(query_pos),
            memory=memory,
            query_pos=query_pos,
            memory_pos=positions,
            memory_padding=padding,
        )
