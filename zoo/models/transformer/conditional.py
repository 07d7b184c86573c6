"""Conditional cross-attention: content and position are compared apart (Meng et al., Conditional DETR, 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.layers.norm import make_norm
from zoo.models.transformer.detr_layers import norm_layers
from zoo.models.transformer.feedforward import FFN
from zoo.models.transformer.layers import LN
from zoo.models.transformer.mlp import MLP
from zoo.models.transformer.position_encoding import box_sinusoids


class ConditionalAttention(nn.Module):
    """Attention with projections of their own for contents and for positions.

    cross_attn: the heads compare the contents and, beside them, the positions; in self-attention their sums.
    keep_query_pos: contents of queries get their positions added in every layer, not only in the first one.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
        cross_attn: bool = False,
        keep_query_pos: bool = False,
        batch_first: bool = True,
    ) -> None:
        super().__init__()
        self.embed_dims, self.num_heads = embed_dims, num_heads
        self.cross_attn, self.keep_query_pos = cross_attn, keep_query_pos
        self.attn_drop, self.proj_drop = nn.Dropout(attn_drop), nn.Dropout(proj_drop)
        self.qcontent_proj, self.qpos_proj = nn.Linear(embed_dims, embed_dims), nn.Linear(embed_dims, embed_dims)
        self.kcontent_proj, self.kpos_proj = nn.Linear(embed_dims, embed_dims), nn.Linear(embed_dims, embed_dims)
        self.v_proj = nn.Linear(embed_dims, embed_dims)
        if cross_attn:
            self.qpos_sine_proj = nn.Linear(embed_dims, embed_dims)
        self.out_proj = nn.Linear(embed_dims, embed_dims)
        nn.init.zeros_(self.out_proj.bias)

    def forward_self(self, query: Tensor, query_pos: Tensor) -> Tensor:
        """Queries (N, Q, C) at positions (N, Q, C), looking at each other; with the shortcut."""
        q = self.qcontent_proj(query) + self.qpos_proj(query_pos)
        k = self.kcontent_proj(query) + self.kpos_proj(query_pos)
        return query + self.attend(self.split(q), self.split(k), self.v_proj(query))

    def forward_cross(
        self,
        query: Tensor,
        memory: Tensor,
        query_pos: Tensor,
        memory_pos: Tensor,
        sine: Tensor,
        padding: Tensor | None,
        first: bool,
    ) -> Tensor:
        """Queries (N, Q, C) looking at memory (N, K, C); with the shortcut.

        sine: (N, Q, C), where the queries look. padding: (N, K) bool. first: whether this is the decoder's first layer.
        """
        q, k, positions = self.qcontent_proj(query), self.kcontent_proj(memory), self.kpos_proj(memory_pos)
        if first or self.keep_query_pos:
            q, k = q + self.qpos_proj(query_pos), k + positions
        q = torch.cat([self.split(q), self.split(self.qpos_sine_proj(sine))], dim=-1)
        k = torch.cat([self.split(k), self.split(positions)], dim=-1)
        return query + self.attend(q, k, self.v_proj(memory), padding)

    def split(self, x: Tensor) -> Tensor:
        """(N, L, C) as heads (N, heads, L, C / heads)."""
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def attend(self, q: Tensor, k: Tensor, values: Tensor, padding: Tensor | None = None) -> Tensor:
        """(N, Q, C). q: (N, heads, Q, D). k: (N, heads, K, D). values: (N, K, C)."""
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        if padding is not None:
            scores = scores.masked_fill(padding[:, None, None], float("-inf"))
        weights = self.attn_drop(F.softmax(scores, dim=-1))
        out: Tensor = self.proj_drop(self.out_proj((weights @ self.split(values)).transpose(1, 2).flatten(2)))
        return out


class ConditionalDecoderLayer(nn.Module):
    """Self-attention, conditional cross-attention and a feed-forward network, with normalizations behind them."""

    def __init__(
        self,
        self_attn_cfg: Mapping[str, Any],
        cross_attn_cfg: Mapping[str, Any],
        ffn_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] = LN,
    ) -> None:
        super().__init__()
        self.self_attn, self.cross_attn = ConditionalAttention(**self_attn_cfg), ConditionalAttention(**cross_attn_cfg)
        self.embed_dims = self.self_attn.embed_dims
        self.ffn = FFN(**(ffn_cfg or {}))
        self.norms = norm_layers(norm_cfg, self.embed_dims, 3)

    def forward(self, query: Tensor, query_pos: Tensor, **across: Any) -> Tensor:
        """The transformed queries (N, Q, C). across: further arguments of `forward_cross`."""
        query = self.norms[0](self.self_attn.forward_self(query, query_pos))
        query = self.norms[1](self.cross_attn.forward_cross(query, query_pos=query_pos, **across))
        out: Tensor = self.norms[2](self.ffn(query))
        return out


def conditional_layers(num_layers: int, layer_cfg: Mapping[str, Any]) -> nn.ModuleList:
    """The layers of a decoder; only the first one adds the queries' positions to their contents, unless told to."""
    layers = [ConditionalDecoderLayer(**layer_cfg) for _ in range(num_layers)]
    for layer in layers[1:]:
        if not layer.cross_attn.keep_query_pos:
            layer.cross_attn.qpos_proj = None  # type: ignore[assignment]
    return nn.ModuleList(layers)


class ConditionalDecoder(nn.Module):
    """Queries look around a point that their learned position says; what they are scales that point's encoding."""

    def __init__(
        self,
        num_layers: int,
        layer_cfg: Mapping[str, Any],
        post_norm_cfg: Mapping[str, Any] = LN,
        return_intermediate: bool = True,
    ) -> None:
        super().__init__()
        self.layers = conditional_layers(num_layers, layer_cfg)
        self.num_layers, self.return_intermediate = num_layers, return_intermediate
        self.embed_dims: int = self.layers[0].embed_dims  # type: ignore[assignment]
        channels = self.embed_dims
        self.post_norm = make_norm(post_norm_cfg, channels)[1]
        self.query_scale, self.ref_point_head = MLP(channels, channels, channels, 2), MLP(channels, channels, 2, 2)

    def forward(
        self, query: Tensor, query_pos: Tensor, memory: Tensor, memory_pos: Tensor, memory_padding: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The states (layers, N, Q, C), and the queries' points (N, Q, 2), x, y as shares of the image.

        query, query_pos: (N, Q, C). memory, memory_pos: (N, K, C). memory_padding: (N, K) bool.
        """
        points = self.ref_point_head(query_pos).sigmoid()
        waves = box_sinusoids(points, self.embed_dims // 2)
        states = []
        for i, layer in enumerate(self.layers):
            sine = waves * self.query_scale(query) if i else waves
            across = {"memory": memory, "memory_pos": memory_pos, "padding": memory_padding, "first": i == 0}
            query = layer(query, query_pos, sine=sine, **across)
            states.append(query)
        kept = states if self.return_intermediate else states[-1:]
        return torch.stack([self.post_norm(x) for x in kept]), points
