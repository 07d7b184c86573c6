"""Transformer layers whose steps and their order come from a description, and sequences of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import BuildError
from zoo.models.build import component
from zoo.models.layers.norm import make_norm
from zoo.models.transformer.deformable_attention import MultiScaleDeformableAttention

LN = {"type": "LN"}
STEPS = ("self_attn", "cross_attn", "norm", "ffn")
# How the reference lays out memory; here every sequence is (N, length, channels).
LAYOUT = ("batch_first", "im2col_step", "norm_cfg")


class TransformerLayer(nn.Module):
    """Attentions, feed-forward networks and normalizations in `operation_order`.

    attn_cfgs, ffn_cfgs: one description for all, or a list with one for each. feedforward_channels, ffn_dropout,
    ffn_num_fcs: override what `ffn_cfgs` says. Normalization in front (an order that starts with "norm") makes the
    shortcuts carry the unnormalized sequence.
    """

    def __init__(
        self,
        attn_cfgs: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        operation_order: Sequence[str],
        ffn_cfgs: Any = None,
        norm_cfg: Mapping[str, Any] = LN,
        feedforward_channels: int | None = None,
        ffn_dropout: float | None = None,
        ffn_num_fcs: int | None = None,
        batch_first: bool = True,
    ) -> None:
        super().__init__()
        check(operation_order)
        self.operation_order = tuple(operation_order)
        self.pre_norm = self.operation_order[0] == "norm"
        attentions = sum(step.endswith("attn") for step in self.operation_order)
        self.attentions = nn.ModuleList(make_attention(d) for d in repeated(attn_cfgs, attentions))
        self.embed_dims: int = self.attentions[0].embed_dims  # type: ignore[assignment]
        overrides = {"feedforward_channels": feedforward_channels, "ffn_drop": ffn_dropout, "num_fcs": ffn_num_fcs}
        overrides = {k: v for k, v in overrides.items() if v is not None}
        ffns = repeated(ffn_cfgs or {}, self.operation_order.count("ffn"))
        self.ffns = nn.ModuleList(
            component({"type": "FFN", "embed_dims": self.embed_dims, **d, **overrides}) for d in ffns
        )
        norms = self.operation_order.count("norm")
        self.norms = nn.ModuleList(make_norm(norm_cfg, self.embed_dims)[1] for _ in range(norms))

    @property
    def self_attention(self) -> Any:
        """The attention of the queries to each other."""
        return self.attention_of("self_attn")

    @property
    def cross_attention(self) -> Any:
        """The attention to the memory."""
        return self.attention_of("cross_attn")

    def attention_of(self, step: str) -> Any:
        """The first attention of a step."""
        steps = [name for name in self.operation_order if name.endswith("attn")]
        return self.attentions[steps.index(step)]

    def forward(
        self,
        query: Tensor,
        memory: Tensor | None = None,
        query_pos: Tensor | None = None,
        memory_pos: Tensor | None = None,
        query_padding: Tensor | None = None,
        memory_padding: Tensor | None = None,
        attn_mask: Tensor | None = None,
        self_mask: Tensor | None = None,
        **sampling: Any,
    ) -> Tensor:
        """The transformed sequence (N, Q, C).

        query: (N, Q, C). memory: (N, K, C), what cross-attention looks at. The positions have the same shapes, the
        paddings are (N, Q) and (N, K) bool. attn_mask: of the cross-attention, self_mask: of the
        self-attention. sampling: `reference_points` and
        `shapes` for deformable attention.
        """
        identity = query
        attentions, norms, ffns = iter(self.attentions), iter(self.norms), iter(self.ffns)
        for step in self.operation_order:
            shortcut = identity if self.pre_norm else query
            if step == "norm":
                query = next(norms)(query)
                continue
            if step == "ffn":
                query = next(ffns)(query, shortcut)
                continue
            others: tuple[Tensor | None, ...]
            if step == "self_attn":
                others = (query, query_pos, query_padding, self_mask)
            else:
                others = (memory, memory_pos, memory_padding, attn_mask)
            query = identity = attend(next(attentions), query, query_pos, shortcut, *others, sampling=sampling)
        return query


def attend(
    attention: nn.Module,
    query: Tensor,
    query_pos: Tensor | None,
    identity: Tensor,
    memory: Tensor | None,
    memory_pos: Tensor | None,
    padding: Tensor | None,
    mask: Tensor | None,
    sampling: Mapping[str, Any],
) -> Tensor:
    """One attention step, deformable or not."""
    common = {"identity": identity, "query_pos": query_pos, "key_padding_mask": padding}
    if isinstance(attention, MultiScaleDeformableAttention):
        return attention(query, memory, **common, **sampling)
    return attention(query, memory, memory, key_pos=memory_pos, attn_mask=mask, **common)


def check(operation_order: Sequence[str]) -> None:
    """Raises BuildError for a step that does not exist."""
    unknown = sorted(set(operation_order) - set(STEPS))
    if unknown:
        raise BuildError(f"operation_order has the unknown step '{unknown[0]}'; known: {', '.join(STEPS)}")


def make_attention(description: Mapping[str, Any]) -> nn.Module:
    """The attention of a description."""
    return component({k: v for k, v in description.items() if k not in LAYOUT})


def repeated(description: Any, count: int) -> list[Mapping[str, Any]]:
    """One description `count` times, or a list as it is. Raises BuildError where the list has another length."""
    if isinstance(description, Mapping):
        return [description] * count
    if len(description) != count:
        raise BuildError(f"{len(description)} descriptions where operation_order or num_layers asks for {count}")
    return list(description)


class LayerSequence(nn.Module):
    """Base: `num_layers` transformer layers. transformerlayers: one description for all, or a list."""

    def __init__(self, transformerlayers: Any, num_layers: int) -> None:
        super().__init__()
        self.num_layers = num_layers
        self.layers = nn.ModuleList(component(d) for d in repeated(transformerlayers, num_layers))
        self.embed_dims: int = self.layers[0].embed_dims  # type: ignore[assignment]


class DetrTransformerEncoder(LayerSequence):
    """Layers one after the other; with normalization in front, one more normalization at the end."""

    def __init__(self, post_norm_cfg: Mapping[str, Any] | None = LN, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        pre_norm = self.layers[0].pre_norm
        self.post_norm = make_norm(post_norm_cfg, self.embed_dims)[1] if pre_norm and post_norm_cfg else None

    def forward(self, query: Tensor, **kwargs: Any) -> Tensor:
        """(N, Q, C) to the same. Further arguments are those of `TransformerLayer`."""
        for layer in self.layers:
            query = layer(query, **kwargs)
        return query if self.post_norm is None else self.post_norm(query)


class DetrTransformerDecoder(LayerSequence):
    """Layers one after the other, the result of each (or only of the last) normalized.

    return_intermediate: all layers' results, which training supervises.
    """

    def __init__(
        self, post_norm_cfg: Mapping[str, Any] | None = LN, return_intermediate: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.return_intermediate = return_intermediate
        self.post_norm = make_norm(post_norm_cfg, self.embed_dims)[1] if post_norm_cfg else nn.Identity()

    def forward(self, query: Tensor, **kwargs: Any) -> Tensor:
        """(N, Q, C) to (layers, N, Q, C). Further arguments are those of `TransformerLayer`."""
        states = []
        for layer in self.layers:
            query = layer(query, **kwargs)
            states.append(query)
        return torch.stack([self.post_norm(x) for x in (states if self.return_intermediate else states[-1:])])


def init_transformer(module: nn.Module) -> None:
    """Xavier weights everywhere, but deformable attention as its paper starts it."""
    for parameter in module.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
    for part in module.modules():
        if isinstance(part, MultiScaleDeformableAttention):
            part.init_weights()
