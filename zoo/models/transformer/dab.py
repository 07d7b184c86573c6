"""Queries that are boxes, and attention that follows their size (Liu et al., DAB-DETR, 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import BuildError
from zoo.models.layers.norm import make_norm
from zoo.models.transformer.conditional import conditional_layers
from zoo.models.transformer.detr_layers import DetrEncoder
from zoo.models.transformer.inverse_sigmoid import inverse_sigmoid
from zoo.models.transformer.layers import LN
from zoo.models.transformer.mlp import MLP
from zoo.models.transformer.position_encoding import box_sinusoids


class DABEncoder(DetrEncoder):
    """An encoder in which what a cell is scales the encoding of where it is."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.query_scale = MLP(self.embed_dims, self.embed_dims, self.embed_dims, 2)

    def forward(self, query: Tensor, *, query_pos: Tensor, **kwargs: Any) -> Tensor:  # type: ignore[override]
        """(N, S, C) to the same. query_pos: (N, S, C). Further arguments are those of `DetrEncoderLayer`."""
        for layer in self.layers:
            query = layer(query, query_pos=query_pos * self.query_scale(query), **kwargs)
        return query


class DABDecoder(nn.Module):
    """Layers that each refine the queries' boxes.

    query_dim: 4 for boxes, 2 for points. query_scale_type: what scales the encodings: "cond_elewise" and "cond_scalar"
    the query's state, "fix_elewise" a learned vector per layer. with_modulated_hw_attn: the encodings of x and y are
    scaled by how wide and high the query expects its object to be, relative to its box.
    """

    def __init__(
        self,
        num_layers: int,
        layer_cfg: Mapping[str, Any],
        query_dim: int = 4,
        query_scale_type: str = "cond_elewise",
        with_modulated_hw_attn: bool = True,
        post_norm_cfg: Mapping[str, Any] = LN,
        return_intermediate: bool = True,
    ) -> None:
        super().__init__()
        if with_modulated_hw_attn and query_dim != 4:
            raise BuildError("with_modulated_hw_attn needs queries that are boxes: query_dim: 4")
        self.layers = conditional_layers(num_layers, layer_cfg)
        self.num_layers, self.query_dim, self.return_intermediate = num_layers, query_dim, return_intermediate
        self.embed_dims: int = self.layers[0].embed_dims  # type: ignore[assignment]
        channels = self.embed_dims
        self.post_norm = make_norm(post_norm_cfg, channels)[1]
        self.query_scale_type = query_scale_type
        self.query_scale = query_scale(query_scale_type, channels, num_layers)
        self.ref_point_head = MLP(query_dim // 2 * channels, channels, channels, 2)
        self.with_modulated_hw_attn = with_modulated_hw_attn
        if with_modulated_hw_attn:
            self.ref_anchor_head = MLP(channels, channels, 2, 2)

    def forward(
        self,
        query: Tensor,
        boxes: Tensor,
        memory: Tensor,
        memory_pos: Tensor,
        memory_padding: Tensor | None,
        regress: nn.Module,
    ) -> tuple[Tensor, Tensor]:
        """The states (layers, N, Q, C), and the boxes (layers, N, Q, query_dim) that each layer started from.

        query: (N, Q, C). boxes: (N, Q, query_dim) logits. memory, memory_pos: (N, K, C). memory_padding: (N, K) bool.
        regress: moves the boxes after each layer.
        """
        boxes = boxes.sigmoid()
        states, starts = [], [boxes]
        for i, layer in enumerate(self.layers):
            waves = box_sinusoids(boxes, self.embed_dims // 2)
            across = {"memory": memory, "memory_pos": memory_pos, "padding": memory_padding, "first": i == 0}
            query = layer(query, self.ref_point_head(waves), sine=self.sine(i, waves, query, boxes), **across)
            states.append(self.post_norm(query))
            following = (regress(query)[..., : self.query_dim] + inverse_sigmoid(boxes)).sigmoid()
            starts.append(following)
            boxes = following.detach()
        kept = states if self.return_intermediate else states[-1:]
        return torch.stack(kept), torch.stack(starts[:-1])

    def sine(self, layer: int, waves: Tensor, query: Tensor, boxes: Tensor) -> Tensor:
        """Where the queries look, (N, Q, C). waves: (N, Q, query_dim / 2 * C), y's channels first."""
        waves = waves[..., : self.embed_dims]
        if self.query_scale_type == "fix_elewise":
            waves = waves * self.query_scale.weight[layer]
        elif layer:
            waves = waves * self.query_scale(query)
        if not self.with_modulated_hw_attn:
            return waves
        y, x = waves.chunk(2, dim=-1)
        ratio = self.ref_anchor_head(query).sigmoid() / boxes[..., 2:]
        return torch.cat([y * ratio[..., 1:], x * ratio[..., :1]], dim=-1)


def query_scale(kind: str, channels: int, num_layers: int) -> Any:
    """What scales the encodings of positions. Raises BuildError for an unknown kind."""
    if kind == "fix_elewise":
        return nn.Embedding(num_layers, channels)
    if kind not in ("cond_elewise", "cond_scalar"):
        raise BuildError(f"query_scale_type is cond_elewise, cond_scalar or fix_elewise, not '{kind}'")
    return MLP(channels, channels, channels if kind == "cond_elewise" else 1, 2)
