"""Deformable DETR's transformer (Zhu et al., 2021)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from zoo.models.build import component
from zoo.models.layers.constants import extents
from zoo.models.layers.tracing import at_most
from zoo.models.transformer.layers import LayerSequence, init_transformer
from zoo.models.transformer.levels import cell_centers, join, map_shapes, reference_points, valid_ratios
from zoo.models.transformer.position_encoding import sinusoids
from zoo.models.transformer.reference_points import moved


class DeformableDetrTransformerDecoder(LayerSequence):
    """Layers whose queries look around reference points, which each layer may refine.

    return_intermediate: all layers' results, which training supervises.
    """

    def __init__(self, return_intermediate: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.return_intermediate = return_intermediate

    def forward(
        self, query: Tensor, points: Tensor, ratios: Tensor, reg_branches: Sequence[nn.Module] | None, **kwargs: Any
    ) -> tuple[Tensor, list[Tensor]]:
        """The states (layers, N, Q, C) and the reference points that each layer started from.

        points: (N, Q, 2 or 4), x, y(, w, h) as shares of the image. ratios: (N, levels, 2), image in padded map.
        reg_branches: refine the points after each layer. Further arguments are those of `TransformerLayer`.
        """
        states, starts = refine(self.layers, query, points, ratios, reg_branches, **kwargs)
        kept = slice(None) if self.return_intermediate else slice(-1, None)
        return torch.stack(states[kept]), starts[kept]


def refine(
    layers: Iterable[nn.Module],
    query: Tensor,
    points: Tensor,
    ratios: Tensor,
    reg_branches: Sequence[nn.Module] | None,
    **kwargs: Any,
) -> tuple[list[Tensor], list[Tensor]]:
    """Per layer the states (N, Q, C), and the reference points (N, Q, 2 or 4) that it started from."""
    states, starts = [], []
    for i, layer in enumerate(layers):
        query = layer(query, reference_points=on_levels(points, ratios), **kwargs)
        states.append(query)
        starts.append(points)
        if reg_branches is not None:
            points = moved(points, reg_branches[i](query)).detach()
    return states, starts


def on_levels(points: Tensor, ratios: Tensor) -> Tensor:
    """Points (N, Q, 2 or 4), shares of the image, as shares of the padded maps, (N, Q, levels, 2 or 4)."""
    return points[:, :, None] * ratios.repeat(1, 1, points.shape[-1] // 2)[:, None]


class Memory(NamedTuple):
    """An encoded pyramid, its levels behind each other.

    tokens: (N, S, C). padding: (N, S) bool. shapes: (h, w) of each level. ratios: (N, levels, 2), image in padded map.
    """

    tokens: Tensor
    padding: Tensor
    shapes: list[tuple[int, int]]
    ratios: Tensor

    @property
    def attended(self) -> dict[str, Any]:
        """What a decoder's layers look at."""
        return {"memory": self.tokens, "memory_padding": self.padding, "shapes": self.shapes}


def encode(
    encoder: nn.Module,
    features: Sequence[Tensor],
    paddings: Sequence[Tensor],
    positions: Sequence[Tensor],
    level_embeds: Tensor,
) -> Memory:
    """An encoder with deformable attention over all cells.

    features: per level (N, C, h, w), positions like them. paddings: per level (N, h, w) bool.
    level_embeds: (levels, C).
    """
    shapes, ratios = map_shapes(features), valid_ratios(paddings)
    padding = torch.cat([p.flatten(1) for p in paddings], dim=1)
    levels = torch.cat([embed.expand(h * w, -1) for embed, (h, w) in zip(level_embeds, shapes)])
    memory = encoder(
        join(features),
        query_pos=join(positions) + levels,
        query_padding=padding,
        reference_points=reference_points(shapes, ratios),
        shapes=shapes,
    )
    return Memory(memory, padding, shapes, ratios)


def propose(
    memory: Memory,
    project: Callable[[Tensor], Tensor],
    classify: Callable[[Tensor], Tensor],
    regress: Callable[[Tensor], Tensor],
) -> tuple[Tensor, Tensor]:
    """A proposal per cell: class logits (N, S, classes) and box logits (N, S, 4), infinite where there is none.

    project: applied to the cells in front of the two branches.
    """
    states, logits = usable_cells(memory, project)
    return classify(states), regress(states) + logits


def usable_cells(memory: Memory, project: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """The projected cells (N, S, C), and logits (N, S, 4) of a box around each, infinite at the borders and outside."""
    priors = cell_boxes(memory.shapes, memory.ratios)
    usable = ((priors > 0.01) & (priors < 0.99)).all(-1, keepdim=True) & ~memory.padding[..., None]
    states = project(memory.tokens.masked_fill(~usable, 0.0))
    return states, torch.log(priors / (1 - priors)).masked_fill(~usable, float("inf"))


class DeformableDetrTransformer(nn.Module):
    """An encoder over all cells of a pyramid and a decoder over object queries, both with deformable attention.

    as_two_stage: the queries are the encoder's own best `two_stage_num_proposals` proposals.
    """

    def __init__(
        self,
        encoder: Mapping[str, Any],
        decoder: Mapping[str, Any],
        as_two_stage: bool = False,
        num_feature_levels: int = 4,
        two_stage_num_proposals: int = 300,
    ) -> None:
        super().__init__()
        self.encoder, self.decoder = component(encoder), component(decoder)
        self.as_two_stage, self.two_stage_num_proposals = as_two_stage, two_stage_num_proposals
        self.embed_dims = channels = self.encoder.embed_dims
        self.level_embeds = nn.Parameter(torch.empty(num_feature_levels, channels))
        if as_two_stage:
            self.enc_output, self.enc_output_norm = nn.Linear(channels, channels), nn.LayerNorm(channels)
            self.pos_trans, self.pos_trans_norm = nn.Linear(channels * 2, channels * 2), nn.LayerNorm(channels * 2)
        else:
            self.reference_points = nn.Linear(channels, 2)
        init_transformer(self)
        nn.init.normal_(self.level_embeds)

    def forward(
        self,
        features: Sequence[Tensor],
        paddings: Sequence[Tensor],
        positions: Sequence[Tensor],
        queries: Tensor | None,
        reg_branches: Sequence[nn.Module] | None = None,
        cls_branches: Sequence[nn.Module] | None = None,
    ) -> tuple[Tensor, list[Tensor], tuple[Tensor, Tensor] | None]:
        """The queries' states, their reference points, and the encoder's proposals.

        features: per level (N, C, h, w), positions like them. paddings: per level (N, h, w) bool. queries: (Q, 2 * C),
        learned positions and contents; None in two stages. reg_branches: where boxes are refined; cls_branches: in two
        stages. Returns states (layers, N, Q, C), points per layer (N, Q, 2 or 4), and proposals as class logits
        (N, S, classes) and box logits (N, S, 4), or None.
        """
        memory = encode(self.encoder, features, paddings, positions, self.level_embeds)
        proposals = None
        if self.as_two_stage:
            branches = cls_branches[-1], reg_branches[-1]  # type: ignore[index]
            proposals = propose(memory, lambda x: self.enc_output_norm(self.enc_output(x)), *branches)
            query_pos, query, points = self.best(*proposals)
        else:
            query_pos, query = queries.expand(features[0].shape[0], -1, -1).chunk(2, dim=-1)  # type: ignore[union-attr]
            points = self.reference_points(query_pos).sigmoid()
        states, starts = self.decoder(
            query, points, memory.ratios, reg_branches, query_pos=query_pos, **memory.attended
        )
        return states, starts, proposals

    def best(self, logits: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The best proposals as positions and contents of queries, (N, Q, C) each, and boxes (N, Q, 4) cxcywh."""
        points = best_boxes(logits, boxes, self.two_stage_num_proposals)
        return *queries_at(points, self.embed_dims, lambda x: self.pos_trans_norm(self.pos_trans(x))), points


def best_boxes(logits: Tensor, boxes: Tensor, count: int) -> Tensor:
    """The best proposals (N, Q, 4), cxcywh in [0, 1]. logits: (N, S, classes). boxes: (N, S, 4) logits.

    The first class alone says how likely a cell is an object, as in the authors' code.
    """
    order = logits[..., 0].topk(at_most(count, logits.shape[1]), dim=1)[1]
    return boxes.gather(1, order[..., None].expand(-1, -1, 4)).detach().sigmoid()


def queries_at(points: Tensor, channels: int, project: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Positions and contents of queries, (N, Q, C) each, from boxes (N, Q, 4) cxcywh in [0, 1]."""
    waves = sinusoids(points * (2 * torch.pi), channels // 2).flatten(2)
    query_pos, query = project(waves).chunk(2, dim=-1)
    return query_pos, query


def cell_boxes(shapes: Sequence[tuple[int, int]], ratios: Tensor) -> Tensor:
    """A square around each cell, (N, S, 4) cxcywh as shares of the unpadded image, twice as large on each level."""
    boxes = []
    for level, shape in enumerate(shapes):
        extent = extents([shape], ratios) * ratios[:, level]
        centers = cell_centers(shape, ratios.device) / extent[:, None]
        boxes.append(torch.cat([centers, torch.full_like(centers, 0.05 * 2**level)], dim=-1))
    return torch.cat(boxes, dim=1)
