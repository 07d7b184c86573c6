"""Mask2Former's head: queries that look only where their last mask was (Cheng et al., 2022, section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.segmentation.maskformer_head import MaskQueryHead
from zoo.models.transformer.padding import tokens


class Mask2FormerHead(MaskQueryHead):
    """A decoder with masked attention, whose layers look at the levels in turn, coarsest first.

    strides: of the backbone's levels. num_transformer_feat_level: levels that the decoder looks at.
    """

    cross_first = True

    def __init__(
        self,
        feat_channels: int,
        pixel_decoder: Mapping[str, Any],
        strides: Sequence[int] = (4, 8, 16, 32),
        num_transformer_feat_level: int = 3,
        enforce_decoder_input_project: bool = False,
        **kwargs: Any,
    ) -> None:
        pixel_decoder = {"strides": strides, **pixel_decoder}
        super().__init__(feat_channels=feat_channels, pixel_decoder=pixel_decoder, **kwargs)
        width, levels = self.transformer_decoder.embed_dims, num_transformer_feat_level
        project = enforce_decoder_input_project or width != feat_channels
        self.decoder_input_projs = nn.ModuleList(
            nn.Conv2d(feat_channels, width, 1) if project else nn.Identity() for _ in range(levels)
        )
        self.query_feat = nn.Embedding(self.num_queries, feat_channels)
        self.level_embed = nn.Embedding(levels, feat_channels)

    def forward(self, features: Sequence[Tensor], padding: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Class logits (N, Q, num_classes + 1) and mask logits (N, Q, H / 4, W / 4), before and after each layer.

        features: per level (N, C_i, H_i, W_i), finest first. padding: not masked, as in the authors' code.
        """
        pixels, maps = self.pixel_decoder(features)
        keys, positions = self.keys(maps)
        query = self.query_feat.weight.expand(pixels.shape[0], -1, -1)
        query_pos = self.query_embed.weight.expand(pixels.shape[0], -1, -1)
        outputs = [self.classify(self.transformer_decoder.post_norm(query), pixels)]
        for i, layer in enumerate(self.transformer_decoder.layers):
            level = i % len(maps)
            mask = attention_mask(outputs[-1][1], maps[level], layer.cross_attention.num_heads)
            query = layer(query, memory=keys[level], query_pos=query_pos, memory_pos=positions[level], attn_mask=mask)
            outputs.append(self.classify(self.transformer_decoder.post_norm(query), pixels))
        logits, masks = zip(*outputs)
        return list(logits), list(masks)

    def keys(self, maps: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """What each level offers to attention, and where it lies, (N, h * w, C) each."""
        levels = zip(maps, self.decoder_input_projs, self.level_embed.weight)
        keys = [tokens(project(x)) + embedding for x, project, embedding in levels]
        positions = [self.positions(x.new_zeros(x[:, 0].shape, dtype=torch.bool)) for x in maps]
        return keys, [tokens(x) for x in positions]


def attention_mask(masks: Tensor, like: Tensor, num_heads: int) -> Tensor:
    """Where queries must not look, (N * num_heads, Q, h * w) bool: outside their masks, unless those are empty.

    masks: (N, Q, H, W) logits. like: (N, C, h, w), the map to look at.
    """
    resized = F.interpolate(masks, size=like.shape[-2:], mode="bilinear", align_corners=False)
    outside = (resized.sigmoid() < 0.5).flatten(2)
    outside = outside & ~outside.all(dim=-1, keepdim=True)
    return outside.repeat_interleave(num_heads, dim=0).detach()
