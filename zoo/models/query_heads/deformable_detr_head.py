"""Deformable DETR's head (Zhu et al., 2021)."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.dense_heads.towers import prior_bias
from zoo.models.query_heads.detr_head import QueryHead
from zoo.models.transformer.padding import padding_at
from zoo.models.transformer.reference_points import moved


class DeformableDETRHead(QueryHead):
    """Class and box branches, one of each per decoder layer.

    with_box_refine: the branches differ per layer, and each layer refines the boxes of the one before. as_two_stage:
    queries start from proposals of the encoder, which has one more pair of branches.
    """

    def __init__(
        self,
        transformer: Mapping[str, Any],
        with_box_refine: bool = False,
        as_two_stage: bool = False,
        **kwargs: Any,
    ) -> None:
        if as_two_stage:
            transformer = {**transformer, "as_two_stage": True}
        super().__init__(transformer=transformer, **kwargs)
        self.with_box_refine, self.as_two_stage = with_box_refine, as_two_stage
        channels = self.embed_dims
        count = self.transformer.decoder.num_layers + as_two_stage
        hidden = [m for _ in range(self.num_reg_fcs) for m in (nn.Linear(channels, channels), nn.ReLU())]
        clone = copy.deepcopy if with_box_refine else lambda module: module
        classify, regress = nn.Linear(channels, self.cls_out_channels), nn.Sequential(*hidden, nn.Linear(channels, 4))
        self.cls_branches = nn.ModuleList(clone(classify) for _ in range(count))
        self.reg_branches = nn.ModuleList(clone(regress) for _ in range(count))
        if not as_two_stage:
            self.query_embedding = nn.Embedding(self.num_query, channels * 2)
        self.init_weights()

    def init_weights(self) -> None:
        """Rare objects, and boxes that start at their reference points."""
        if self.use_sigmoid:
            for classify in self.cls_branches:
                nn.init.constant_(classify.get_parameter("bias"), prior_bias())
        last = [branch.get_submodule(str(2 * self.num_reg_fcs)) for branch in self.reg_branches]
        for layer in last:
            nn.init.zeros_(layer.get_parameter("weight"))
            nn.init.zeros_(layer.get_parameter("bias"))
        if not self.as_two_stage:
            nn.init.constant_(last[0].get_parameter("bias")[2:], -2.0)

    def forward(
        self, features: Sequence[Tensor], padding: Tensor
    ) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor] | None]:
        """Class logits (layers, N, Q, C), boxes (layers, N, Q, 4), and the encoder's proposals.

        features: per level (N, C, h, w). padding: (N, H, W) bool at input resolution. Boxes are cxcywh as shares of the
        unpadded image; proposals are such logits and boxes per cell, (N, S, C) and (N, S, 4), or None.
        """
        masks = [padding_at(padding, x) for x in features]
        states, points, proposals = self.transformer(
            features,
            masks,
            [self.positional_encoding(mask) for mask in masks],
            None if self.as_two_stage else self.query_embedding.weight,
            self.reg_branches if self.with_box_refine else None,
            self.cls_branches if self.as_two_stage else None,
        )
        logits = torch.stack([branch(x) for branch, x in zip(self.cls_branches, states)])
        boxes = torch.stack([moved(p, branch(x)) for p, branch, x in zip(points, self.reg_branches, states)])
        if proposals is not None:
            proposals = (proposals[0], proposals[1].sigmoid())
        return logits, boxes, proposals
