"""Co-DINO's head: DINO with a transformer that other heads' positives may use too (Zong et al., Co-DETR, 2023)."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.build import component
from zoo.models.dense_heads.towers import prior_bias
from zoo.models.layers.graph_norm import GroupNorm
from zoo.models.layers.nms import batched_nms
from zoo.models.query_heads.branches import still
from zoo.models.query_heads.denoising import Denoising, DenoisingQueries, best_proposals, with_noise
from zoo.models.query_heads.detr_head import SINE, QueryPredictor
from zoo.models.transformer.deformable_transformer import Memory, encode, propose
from zoo.models.transformer.dino import by_layer
from zoo.models.transformer.layers import init_transformer
from zoo.models.transformer.padding import padding_at
from zoo.models.transformer.position_encoding import sinusoids
from zoo.models.transformer.reference_points import moved
from zoo.structures import Detections, ImageGeometry


class CoDinoTransformer(nn.Module):
    """DINO's encoder and decoder, described and named as in 2.x.

    num_co_heads: heads whose positives become queries in training. with_coord_feat: such queries know their features.
    """

    def __init__(
        self,
        encoder: Mapping[str, Any],
        decoder: Mapping[str, Any],
        num_feature_levels: int = 4,
        two_stage_num_proposals: int = 300,
        num_co_heads: int = 1,
        with_pos_coord: bool = True,
        with_coord_feat: bool = True,
        as_two_stage: bool = True,
        mixed_selection: bool = True,
    ) -> None:
        super().__init__()
        self.encoder, self.decoder = component(without_checkpointing(encoder)), component(decoder)
        self.embed_dims = channels = self.encoder.embed_dims
        self.level_embeds = nn.Parameter(torch.empty(num_feature_levels, channels))
        self.enc_output, self.enc_output_norm = nn.Linear(channels, channels), nn.LayerNorm(channels)
        self.query_embed = nn.Embedding(two_stage_num_proposals, channels)
        if with_pos_coord and num_co_heads:
            heads = range(num_co_heads)
            self.aux_pos_trans = nn.ModuleList(nn.Linear(channels * 2, channels) for _ in heads)
            self.aux_pos_trans_norm = nn.ModuleList(nn.LayerNorm(channels) for _ in heads)
            if with_coord_feat:
                self.pos_feats_trans = nn.ModuleList(nn.Linear(channels, channels) for _ in heads)
                self.pos_feats_norm = nn.ModuleList(nn.LayerNorm(channels) for _ in heads)
        self.with_coord_feat = with_coord_feat
        init_transformer(self)
        nn.init.normal_(self.level_embeds)
        nn.init.normal_(self.query_embed.weight)

    def project(self, cells: Tensor) -> Tensor:
        """The encoder's cells (..., C) as the branches for proposals want them."""
        out: Tensor = self.enc_output_norm(self.enc_output(cells))
        return out

    def queries_of(self, head: int, boxes: Tensor, features: Tensor | None) -> Tensor:
        """Contents (N, Q, C) of queries from a head's boxes (N, Q, 4) cxcywh, and their features (N, Q, C)."""
        waves = sinusoids(boxes * (2 * torch.pi), self.embed_dims // 2).flatten(2)
        states: Tensor = self.aux_pos_trans_norm[head](self.aux_pos_trans[head](waves))
        if self.with_coord_feat:
            states = states + self.pos_feats_norm[head](self.pos_feats_trans[head](features))
        return states


def without_checkpointing(encoder: Mapping[str, Any]) -> dict[str, Any]:
    """An encoder's description without the number of layers that save memory in training."""
    return {key: value for key, value in encoder.items() if key != "with_cp"}


class CoDINOHead(QueryPredictor):
    """Class and box branches per decoder layer, one more pair for the encoder's proposals, and a coarser level.

    max_pos_coords: at most so many of another head's candidates become queries.
    """

    def __init__(
        self,
        transformer: Mapping[str, Any],
        num_query: int = 900,
        in_channels: int = 2048,
        max_pos_coords: int = 300,
        dn_cfg: Mapping[str, Any] | None = None,
        use_zero_padding: bool = False,
        positional_encoding: Mapping[str, Any] = SINE,
        as_two_stage: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_query, self.max_pos_coords, self.use_zero_padding = num_query, max_pos_coords, use_zero_padding
        self.positional_encoding = component({**SINE, **positional_encoding})
        self.transformer = component({**transformer, "two_stage_num_proposals": num_query})
        self.embed_dims = channels = self.transformer.embed_dims
        hidden = [m for _ in range(self.num_reg_fcs) for m in (nn.Linear(channels, channels), nn.ReLU())]
        classify, regress = nn.Linear(channels, self.cls_out_channels), nn.Sequential(*hidden, nn.Linear(channels, 4))
        nn.init.constant_(classify.bias, prior_bias())
        still(regress[-1])
        branches = range(self.transformer.decoder.num_layers + 1)
        self.cls_branches = nn.ModuleList(copy.deepcopy(classify) for _ in branches)
        self.reg_branches = nn.ModuleList(copy.deepcopy(regress) for _ in branches)
        down = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        self.downsample = nn.Sequential(down, GroupNorm(32, channels))
        self.dn_generator = DenoisingQueries(self.num_classes, channels, num_query, **(dn_cfg or {}))

    def forward(
        self, features: Sequence[Tensor], padding: Tensor, noise: Denoising | None = None
    ) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor], Memory]:
        """Class logits (layers, N, Q, classes), boxes (layers, N, Q, 4) cxcywh as shares, proposals, encoded pyramid.

        features: per level (N, C, h, w). padding: (N, H, W) bool. noise: queries in front of the others. Proposals are
        logits (N, Q, classes) and boxes (N, Q, 4).
        """
        paddings = [padding_at(padding, x) for x in features]
        positions = [self.positional_encoding(x) for x in paddings]
        memory = encode(self.transformer.encoder, features, paddings, positions, self.transformer.level_embeds)
        cells = propose(memory, self.transformer.project, self.cls_branches[-1], self.reg_branches[-1])
        logits, boxes = best_proposals(*cells, self.num_query)
        states = self.transformer.query_embed.weight[: logits.shape[1]].expand(len(padding), -1, -1)
        states, starts = with_noise(states, boxes.detach(), noise)
        mask = None if noise is None else noise.mask_for(logits.shape[1])
        result = self.decode(states, starts.sigmoid(), memory, mask)
        return *result, (logits, boxes.sigmoid()), memory

    def decode(
        self, states: Tensor, boxes: Tensor, memory: Memory, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Class logits (layers, N, Q, classes) and boxes (layers, N, Q, 4) of queries (N, Q, C) at boxes (N, Q, 4)."""
        regress = by_layer(list(self.reg_branches))
        states, starts = self.transformer.decoder(states, boxes, memory, regress, mask)
        logits = torch.stack([branch(x) for branch, x in zip(self.cls_branches, states)])
        steps = zip(starts, self.reg_branches, states)
        return logits, torch.stack([moved(start, branch(x), eps=1e-3) for start, branch, x in steps])

    def maps(self, memory: Memory) -> list[Tensor]:
        """The encoded levels (N, C, h, w) for other heads, and one that is coarser."""
        parts = memory.tokens.transpose(1, 2).split([h * w for h, w in memory.shapes], dim=2)
        levels = [part.unflatten(2, shape) for part, shape in zip(parts, memory.shapes)]
        return [*levels, self.downsample(levels[-1])]

    def predict(self, outputs: Sequence[Any], geometries: Sequence[ImageGeometry]) -> list[Detections]:
        """Detections in input coordinates, from the last decoder layer, suppressed where `test_cfg` says so."""
        return [self.suppress(d) for d in super().predict(outputs, geometries)]

    def suppress(self, detections: Detections) -> Detections:
        """One image's detections after `score_thr` and `nms` of the settings."""
        threshold = self.test_cfg.get("score_thr", 0)
        detections = detections[detections.scores > threshold] if threshold > 0 else detections
        nms = self.test_cfg.get("nms")
        if not nms:
            return detections
        limit = self.test_cfg.get("max_per_img", self.num_query)
        keep, scores = batched_nms(detections.boxes, detections.scores, detections.labels, nms, limit)
        return Detections(detections.boxes[keep], scores, detections.labels[keep])
