"""Detectors with deformable attention over several levels, as MMDetection 3.x arranges them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import BuildError
from zoo.models.criteria.table import dense_losses
from zoo.models.detectors.detection_transformer import DetectionTransformer
from zoo.models.query_heads.denoising import Denoising, DenoisingQueries, best_proposals, with_noise
from zoo.models.targets import GroundTruth
from zoo.models.transformer.deformable_transformer import Memory, best_boxes, encode, propose, queries_at, refine
from zoo.models.transformer.detr_layers import DetrEncoder, decoder_layers
from zoo.models.transformer.dino import DinoDecoder, by_layer
from zoo.models.transformer.layers import init_transformer
from zoo.models.transformer.padding import padding_at, padding_mask
from zoo.structures import ImageGeometry


class DeformableDecoder(nn.Module):
    """Layers whose queries look around reference points, which each layer may refine."""

    def __init__(
        self,
        num_layers: int,
        layer_cfg: Mapping[str, Any] | None = None,
        return_intermediate: bool = True,
        post_norm_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.layers = decoder_layers(num_layers, layer_cfg, deformable=True)
        self.num_layers, self.return_intermediate = num_layers, return_intermediate

    def forward(
        self, query: Tensor, points: Tensor, memory: Memory, reg_branches: Sequence[nn.Module] | None, query_pos: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """The states (layers, N, Q, C), and the points (N, Q, 2 or 4) that each layer started from."""
        states, starts = refine(
            self.layers, query, points, memory.ratios, reg_branches, query_pos=query_pos, **memory.attended
        )
        kept = slice(None) if self.return_intermediate else slice(-1, None)
        return torch.stack(states[kept]), starts[kept]


class DeformableTransformer(DetectionTransformer):
    """Base: an encoder over all cells of a pyramid; a subclass makes queries and decodes them.

    with_box_refine: each decoder layer has branches of its own and refines the boxes of the one before. as_two_stage:
    the queries start from the encoder's proposals, which has one more pair of branches.
    """

    def __init__(
        self,
        encoder: Mapping[str, Any],
        decoder: Mapping[str, Any],
        bbox_head: Mapping[str, Any],
        with_box_refine: bool = False,
        as_two_stage: bool = False,
        num_feature_levels: int = 4,
        **kwargs: Any,
    ) -> None:
        count = decoder["num_layers"] + as_two_stage
        branches = {"share_pred_layer": not with_box_refine, "num_pred_layer": count, "as_two_stage": as_two_stage}
        super().__init__(bbox_head={**bbox_head, **branches}, **kwargs)
        self.with_box_refine, self.as_two_stage = with_box_refine, as_two_stage
        self.encoder: Any = DetrEncoder(**encoder, deformable=True)
        self.decoder: Any = self.make_decoder(decoder)
        self.embed_dims: int = self.encoder.embed_dims
        self.level_embed = nn.Parameter(torch.empty(num_feature_levels, self.embed_dims))
        if as_two_stage:
            self.memory_trans_fc = nn.Linear(self.embed_dims, self.embed_dims)
            self.memory_trans_norm = nn.LayerNorm(self.embed_dims)
            nn.init.xavier_uniform_(self.memory_trans_fc.weight)
        init_transformer(self.encoder)
        init_transformer(self.decoder)
        nn.init.normal_(self.level_embed)

    def make_decoder(self, settings: Mapping[str, Any]) -> nn.Module:
        """The decoder of a description."""
        raise NotImplementedError

    def encode(self, images: Tensor, geometries: Sequence[ImageGeometry]) -> Memory:
        """The encoded pyramid of a batch."""
        features = self.features(images)
        padding = padding_mask(images, geometries)
        paddings = [padding_at(padding, x) for x in features]
        positions = [self.positional_encoding(x) for x in paddings]
        return encode(self.encoder, features, paddings, positions, self.level_embed)

    def project(self, cells: Tensor) -> Tensor:
        """The encoder's cells (..., C) as the branches for proposals want them."""
        out: Tensor = self.memory_trans_norm(self.memory_trans_fc(cells))
        return out

    def propose(self, memory: Memory, branch: int) -> tuple[Tensor, Tensor]:
        """A proposal per cell by a pair of the head's branches: class logits (N, S, classes), box logits (N, S, 4)."""
        return propose(memory, self.project, self.bbox_head.cls_branches[branch], self.bbox_head.reg_branches[branch])


class DeformableDETR(DeformableTransformer):
    """Deformable attention around reference points (Zhu et al., Deformable DETR, 2021)."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        channels = self.embed_dims
        if self.as_two_stage:
            self.pos_trans_fc, self.pos_trans_norm = nn.Linear(2 * channels, 2 * channels), nn.LayerNorm(2 * channels)
            nn.init.xavier_uniform_(self.pos_trans_fc.weight)
        else:
            self.query_embedding = nn.Embedding(self.num_queries, 2 * channels)
            self.reference_points_fc = nn.Linear(channels, 2)
            nn.init.xavier_uniform_(self.reference_points_fc.weight)
            nn.init.zeros_(self.reference_points_fc.bias)

    def make_decoder(self, settings: Mapping[str, Any]) -> nn.Module:
        """The decoder of a description."""
        return DeformableDecoder(**settings)

    def outputs(self, images: Tensor, geometries: Sequence[ImageGeometry]) -> tuple[Any, ...]:
        """Class logits, boxes and the encoder's proposals, as of `query_heads.DeformableDETRHead`."""
        memory, proposals = self.encode(images, geometries), None
        if self.as_two_stage:
            logits, boxes = self.propose(memory, self.decoder.num_layers)
            points = best_boxes(logits, boxes, self.num_queries)
            query_pos, query = queries_at(points, self.embed_dims, lambda x: self.pos_trans_norm(self.pos_trans_fc(x)))
            proposals = (logits, boxes.sigmoid())
        else:
            query_pos, query = self.query_embedding.weight.expand(images.shape[0], -1, -1).chunk(2, dim=-1)
            points = self.reference_points_fc(query_pos).sigmoid()
        branches = self.bbox_head.reg_branches if self.with_box_refine else None
        return *self.bbox_head(*self.decoder(query, points, memory, branches, query_pos)), proposals


class DINO(DeformableTransformer):
    """Queries with learned contents at the encoder's best proposals, and denoising in training (DINO, 2023).

    dn_cfg: settings of `DenoisingQueries`.
    """

    def __init__(self, dn_cfg: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not (self.as_two_stage and self.with_box_refine):
            raise BuildError(f"{type(self).__name__} needs as_two_stage and with_box_refine to be true")
        self.dn_query_generator = DenoisingQueries(
            self.bbox_head.num_classes, self.embed_dims, self.num_queries, **(dn_cfg or {})
        )
        self.make_queries()

    def make_queries(self) -> None:
        """The contents of the queries."""
        self.query_embedding = nn.Embedding(self.num_queries, self.embed_dims)
        nn.init.xavier_uniform_(self.query_embedding.weight)

    def make_decoder(self, settings: Mapping[str, Any]) -> nn.Module:
        """The decoder of a description."""
        return DinoDecoder(**settings)

    def outputs(
        self, images: Tensor, geometries: Sequence[ImageGeometry], noise: Denoising | None = None
    ) -> tuple[Any, ...]:
        """Class logits (layers, N, Q, classes), boxes (layers, N, Q, 4) cxcywh as shares of the image, and proposals.

        noise: queries in front of the others. Proposals are logits (N, Q, classes) and boxes (N, Q, 4).
        """
        memory = self.encode(images, geometries)
        logits, boxes = best_proposals(*self.propose(memory, self.decoder.num_layers), self.num_queries)
        states = self.query_embedding.weight[: logits.shape[1]].expand(images.shape[0], -1, -1)
        states, starts = with_noise(states, boxes.detach(), noise)
        mask = None if noise is None else noise.mask_for(logits.shape[1])
        regress = by_layer(self.bbox_head.reg_branches)
        decoded = self.decoder(states, starts.sigmoid(), memory, regress, mask)
        return *self.bbox_head(*decoded), (logits, boxes.sigmoid())

    def compute_losses(
        self, images: Tensor, geometries: Sequence[ImageGeometry], ground_truths: Sequence[GroundTruth]
    ) -> dict[str, Tensor]:
        """The head's losses."""
        noise = self.dn_query_generator(ground_truths, geometries)
        outputs = (*self.outputs(images, geometries, noise), noise)
        return dense_losses(self.bbox_head, outputs, geometries, ground_truths)
