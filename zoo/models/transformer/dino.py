"""DINO's decoder: boxes are refined layer by layer, and say where the queries look (Zhang et al., DINO, 2023)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.transformer.deformable_transformer import Memory, on_levels
from zoo.models.transformer.detr_layers import decoder_layers
from zoo.models.transformer.layers import LayerSequence
from zoo.models.transformer.mlp import MLP
from zoo.models.transformer.position_encoding import box_sinusoids
from zoo.models.transformer.reference_points import moved

# (layer, states (N, Q, C)) -> deltas (N, Q, 4) that move the queries' boxes.
Regress = Callable[[int, Tensor], Tensor]
# (layer, states, boxes (N, Q, 4), self-attention's mask) -> the next layer's mask.
UpdateMask = Callable[[int, Tensor, Tensor, Tensor | None], Tensor | None]


class DinoDecoder(nn.Module):
    """Layers whose queries get their positions from the boxes that the layer before them left behind.

    return_intermediate: must be true, since each layer's states are classified with boxes of their own.
    """

    def __init__(
        self,
        num_layers: int,
        layer_cfg: Mapping[str, Any] | None = None,
        return_intermediate: bool = True,
        post_norm_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.layers = decoder_layers(num_layers, layer_cfg, deformable=True)
        self.num_layers = num_layers
        self.embed_dims: int = self.layers[0].embed_dims  # type: ignore[assignment]
        channels = self.embed_dims
        self.ref_point_head = MLP(channels * 2, channels, channels, 2)
        self.norm = nn.LayerNorm(channels)

    def forward(self, *args: Any, **kwargs: Any) -> tuple[Tensor, list[Tensor]]:
        """See `decode`."""
        return decode(self, *args, **kwargs)


class CoDinoDecoder(LayerSequence):
    """The same with layers that are described and named as in 2.x (Zong et al., Co-DETR, 2023)."""

    def __init__(self, return_intermediate: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        channels = self.embed_dims
        self.ref_point_head = nn.Sequential(nn.Linear(channels * 2, channels), nn.ReLU(), nn.Linear(channels, channels))
        self.norm = nn.LayerNorm(channels)

    def forward(self, *args: Any, **kwargs: Any) -> tuple[Tensor, list[Tensor]]:
        """See `decode`."""
        return decode(self, *args, **kwargs)


def decode(
    decoder: Any,
    query: Tensor,
    boxes: Tensor,
    memory: Memory,
    regress: Regress,
    self_mask: Tensor | None = None,
    update_mask: UpdateMask | None = None,
) -> tuple[Tensor, list[Tensor]]:
    """The normalized states (layers, N, Q, C), and the boxes (N, Q, 4) that each layer started from.

    query: (N, Q, C). boxes: (N, Q, 4) cxcywh as shares of the image. self_mask: (Q, Q) or (N * heads, Q, Q) bool, True
    where a query must not look at another. The boxes of later layers keep the gradients of one layer, so that each
    layer learns from the next one's loss too ("look forward twice").
    """
    states, starts = [], [boxes]
    for i, layer in enumerate(decoder.layers):
        references = on_levels(boxes, memory.ratios)
        query_pos = decoder.ref_point_head(box_sinusoids(references[:, :, 0], decoder.embed_dims // 2))
        extras = {} if self_mask is None else {"self_mask": self_mask}
        query = layer(query, query_pos=query_pos, reference_points=references, **memory.attended, **extras)
        states.append(decoder.norm(query))
        following = moved(boxes, regress(i, query), eps=1e-3)
        boxes = following.detach()
        starts.append(following)
        if update_mask is not None and i + 1 < len(decoder.layers):
            self_mask = update_mask(i, query, boxes, self_mask)
    return torch.stack(states), starts[:-1]


def by_layer(branches: Sequence[nn.Module]) -> Regress:
    """One branch per layer."""
    return lambda layer, states: branches[layer](states)
