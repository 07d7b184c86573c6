"""Encoders and decoders of the DETR family as MMDetection 3.x describes and names them.

A description has `num_layers` and `layer_cfg`, which holds the settings of a layer's attentions (`self_attn_cfg`,
`cross_attn_cfg`), of its feed-forward network (`ffn_cfg`) and of its normalizations (`norm_cfg`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.build import component
from zoo.models.layers.norm import make_norm
from zoo.models.transformer.feedforward import FFN
from zoo.models.transformer.layers import LN, attend, make_attention

ATTENTION: dict[str, Any] = {"embed_dims": 256, "num_heads": 8, "dropout": 0.0}


def attention_layer(settings: Mapping[str, Any] | None, deformable: bool) -> Any:
    """Deformable attention, or the usual one."""
    kind = "MultiScaleDeformableAttention" if deformable else "MultiheadAttention"
    return make_attention({"type": kind, **(ATTENTION if settings is None else settings)})


def norm_layers(settings: Mapping[str, Any], channels: int, count: int) -> nn.ModuleList:
    """`count` normalizations."""
    return nn.ModuleList(make_norm(settings, channels)[1] for _ in range(count))


class DetrEncoderLayer(nn.Module):
    """Self-attention and a feed-forward network, each with a normalization behind it."""

    def __init__(
        self,
        self_attn_cfg: Mapping[str, Any] | None = None,
        ffn_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] = LN,
        deformable: bool = False,
    ) -> None:
        super().__init__()
        self.self_attn = attention_layer(self_attn_cfg, deformable)
        self.embed_dims: int = self.self_attn.embed_dims
        self.ffn = FFN(**(ffn_cfg or {}))
        self.norms = norm_layers(norm_cfg, self.embed_dims, 2)

    @property
    def self_attention(self) -> Any:
        """The attention of the cells to each other."""
        return self.self_attn

    def forward(
        self, query: Tensor, query_pos: Tensor | None = None, query_padding: Tensor | None = None, **sampling: Any
    ) -> Tensor:
        """(N, S, C) to the same; the positions alike, the padding (N, S) bool. sampling: see `TransformerLayer`."""
        others = (query, query_pos, query_padding, None)
        query = self.norms[0](attend(self.self_attn, query, query_pos, query, *others, sampling=sampling))
        out: Tensor = self.norms[1](self.ffn(query))
        return out


class DetrDecoderLayer(nn.Module):
    """Self-attention, cross-attention and a feed-forward network, each with a normalization behind it.

    cross_first: cross-attention comes before self-attention (Mask2Former).
    """

    def __init__(
        self,
        self_attn_cfg: Mapping[str, Any] | None = None,
        cross_attn_cfg: Mapping[str, Any] | None = None,
        ffn_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] = LN,
        deformable: bool = False,
        cross_first: bool = False,
    ) -> None:
        super().__init__()
        self.self_attn = attention_layer(self_attn_cfg, False)
        self.cross_attn = attention_layer(cross_attn_cfg, deformable)
        self.embed_dims: int = self.self_attn.embed_dims
        self.ffn = FFN(**(ffn_cfg or {}))
        self.norms = norm_layers(norm_cfg, self.embed_dims, 3)
        self.cross_first = cross_first

    @property
    def cross_attention(self) -> Any:
        """The attention to the memory."""
        return self.cross_attn

    def forward(
        self,
        query: Tensor,
        memory: Tensor,
        query_pos: Tensor | None = None,
        memory_pos: Tensor | None = None,
        memory_padding: Tensor | None = None,
        attn_mask: Tensor | None = None,
        self_mask: Tensor | None = None,
        **sampling: Any,
    ) -> Tensor:
        """The transformed queries (N, Q, C).

        memory: (N, K, C), what cross-attention looks at, memory_padding: (N, K) bool. attn_mask: of the
        cross-attention, self_mask: of the self-attention, True where a query must not look.
        """
        across = (memory, memory_pos, memory_padding, attn_mask)
        first, second, third = self.norms
        if self.cross_first:
            query = first(attend(self.cross_attn, query, query_pos, query, *across, sampling=sampling))
            query = second(self.look_at_each_other(query, query_pos, self_mask))
        else:
            query = first(self.look_at_each_other(query, query_pos, self_mask))
            query = second(attend(self.cross_attn, query, query_pos, query, *across, sampling=sampling))
        out: Tensor = third(self.ffn(query))
        return out

    def look_at_each_other(self, query: Tensor, query_pos: Tensor | None, mask: Tensor | None) -> Tensor:
        """Self-attention with its shortcut."""
        return attend(self.self_attn, query, query_pos, query, query, query_pos, None, mask, sampling={})


class DetrEncoder(nn.Module):
    """Layers one after the other. deformable: they have deformable attention."""

    def __init__(
        self,
        num_layers: int,
        layer_cfg: Mapping[str, Any] | None = None,
        num_cp: int = -1,
        deformable: bool = False,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            DetrEncoderLayer(**(layer_cfg or {}), deformable=deformable) for _ in range(num_layers)
        )
        self.embed_dims: int = self.layers[0].embed_dims  # type: ignore[assignment]

    def forward(self, query: Tensor, **kwargs: Any) -> Tensor:
        """(N, S, C) to the same. Further arguments are those of `DetrEncoderLayer`."""
        for layer in self.layers:
            query = layer(query, **kwargs)
        return query


class DetrDecoder(nn.Module):
    """Layers one after the other, the result of each (or only of the last) normalized.

    return_intermediate: all layers' results, which training supervises.
    """

    def __init__(
        self,
        num_layers: int,
        layer_cfg: Mapping[str, Any] | None = None,
        post_norm_cfg: Mapping[str, Any] | None = LN,
        return_intermediate: bool = True,
        cross_first: bool = False,
    ) -> None:
        super().__init__()
        self.layers = decoder_layers(num_layers, layer_cfg, cross_first=cross_first)
        self.num_layers, self.return_intermediate = num_layers, return_intermediate
        self.embed_dims: int = self.layers[0].embed_dims  # type: ignore[assignment]
        self.post_norm = make_norm(post_norm_cfg, self.embed_dims)[1] if post_norm_cfg else nn.Identity()

    def forward(self, query: Tensor, **kwargs: Any) -> Tensor:
        """(N, Q, C) to (layers, N, Q, C). Further arguments are those of `DetrDecoderLayer`."""
        states = []
        for layer in self.layers:
            query = layer(query, **kwargs)
            states.append(query)
        return torch.stack([self.post_norm(x) for x in (states if self.return_intermediate else states[-1:])])


def decoder_layers(num_layers: int, layer_cfg: Mapping[str, Any] | None, **kwargs: Any) -> nn.ModuleList:
    """The layers of a decoder."""
    return nn.ModuleList(DetrDecoderLayer(**(layer_cfg or {}), **kwargs) for _ in range(num_layers))


def make_encoder(description: Mapping[str, Any], deformable: bool = False) -> Any:
    """An encoder, described as 2.x or as 3.x does."""
    return component(description) if "type" in description else DetrEncoder(**description, deformable=deformable)


def make_decoder(description: Mapping[str, Any], cross_first: bool = False) -> Any:
    """A decoder without deformable attention, described as 2.x or as 3.x does."""
    return component(description) if "type" in description else DetrDecoder(**description, cross_first=cross_first)
