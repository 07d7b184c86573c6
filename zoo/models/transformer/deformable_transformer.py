"""Deformable DETR's transformer (Zhu et al., 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.build import component
from zoo.models.layers.constants import extents
from zoo.models.layers.tracing import at_most
from zoo.models.transformer.inverse_sigmoid import inverse_sigmoid
from zoo.models.transformer.layers import LayerSequence, init_transformer
from zoo.models.transformer.levels import cell_centers, join, map_shapes, reference_points, valid_ratios
from zoo.models.transformer.position_encoding import sinusoids


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
        states, starts = [], []
        for i, layer in enumerate(self.layers):
            scale = ratios.repeat(1, 1, points.shape[-1] // 2)
            query = layer(query, reference_points=points[:, :, None] * scale[:, None], **kwargs)
            states.append(query)
            starts.append(points)
            if reg_branches is not None:
                points = moved(points, reg_branches[i](query)).detach()
        kept = slice(None) if self.return_intermediate else slice(-1, None)
        return torch.stack(states[kept]), starts[kept]


def moved(points: Tensor, deltas: Tensor) -> Tensor:
    """Boxes (..., 4) cxcywh in [0, 1]: points (..., 2) or boxes (..., 4) moved by deltas (..., 4) in logit space."""
    return (deltas + pad_to_box(inverse_sigmoid(points))).sigmoid()


def pad_to_box(logits: Tensor) -> Tensor:
    """Coordinates (..., 2 or 4) as (..., 4), zeros for a missing size."""
    return F.pad(logits, (0, 4 - logits.shape[-1]))


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
        shapes, ratios = map_shapes(features), valid_ratios(paddings)
        padding = torch.cat([p.flatten(1) for p in paddings], dim=1)
        levels = torch.cat([embed.expand(h * w, -1) for embed, (h, w) in zip(self.level_embeds, shapes)])
        memory = self.encoder(
            join(features),
            query_pos=join(positions) + levels,
            query_padding=padding,
            reference_points=reference_points(shapes, ratios),
            shapes=shapes,
        )
        proposals = None
        if self.as_two_stage:
            proposals = self.propose(memory, padding, shapes, ratios, cls_branches[-1], reg_branches[-1])  # type: ignore[index]
            query_pos, query, points = self.best(*proposals)
        else:
            query_pos, query = queries.expand(len(memory), -1, -1).chunk(2, dim=-1)  # type: ignore[union-attr]
            points = self.reference_points(query_pos).sigmoid()
        states, starts = self.decoder(
            query,
            points,
            ratios,
            reg_branches,
            memory=memory,
            query_pos=query_pos,
            memory_padding=padding,
            shapes=shapes,
        )
        return states, starts, proposals

    def propose(
        self,
        memory: Tensor,
        padding: Tensor,
        shapes: Sequence[tuple[int, int]],
        ratios: Tensor,
        classify: nn.Module,
        regress: nn.Module,
    ) -> tuple[Tensor, Tensor]:
        """A proposal per cell: class logits (N, S, classes) and box logits (N, S, 4), infinite where there is none."""
        priors = cell_boxes(shapes, ratios)
        usable = ((priors > 0.01) & (priors < 0.99)).all(-1, keepdim=True) & ~padding[..., None]
        memory = self.enc_output_norm(self.enc_output(memory.masked_fill(~usable, 0.0)))
        logits = torch.log(priors / (1 - priors)).masked_fill(~usable, float("inf"))
        return classify(memory), regress(memory) + logits

    def best(self, logits: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The best proposals as positions and contents of queries, (N, Q, C) each, and boxes (N, Q, 4) cxcywh.

        The first class alone says how likely a cell is an object, as in the authors' code.
        """
        order = logits[..., 0].topk(at_most(self.two_stage_num_proposals, logits.shape[1]), dim=1)[1]
        points = boxes.gather(1, order[..., None].expand(-1, -1, 4)).detach().sigmoid()
        waves = sinusoids(points * (2 * torch.pi), self.embed_dims // 2).flatten(2)
        query_pos, query = self.pos_trans_norm(self.pos_trans(waves)).chunk(2, dim=-1)
        return query_pos, query, points


def cell_boxes(shapes: Sequence[tuple[int, int]], ratios: Tensor) -> Tensor:
    """A square around each cell, (N, S, 4) cxcywh as shares of the unpadded image, twice as large on each level."""
    boxes = []
    for level, shape in enumerate(shapes):
        extent = extents([shape], ratios) * ratios[:, level]
        centers = cell_centers(shape, ratios.device) / extent[:, None]
        boxes.append(torch.cat([centers, torch.full_like(centers, 0.05 * 2**level)], dim=-1))
    return torch.cat(boxes, dim=1)
