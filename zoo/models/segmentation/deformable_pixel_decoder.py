"""Mask2Former's pixel decoder: deformable attention over several levels (Cheng et al., Mask2Former, 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.build import component
from zoo.models.layers.conv_module import RELU, ConvModule
from zoo.models.query_heads.detr_head import SINE
from zoo.models.segmentation.pixel_decoder import init_convs
from zoo.models.segmentation.solo_head import GN
from zoo.models.transformer.detr_layers import make_encoder
from zoo.models.transformer.layers import init_transformer
from zoo.models.transformer.levels import join, map_shapes, reference_points


class MSDeformAttnPixelDecoder(nn.Module):
    """An encoder over the coarsest levels, as many as its attention has, and a feature pyramid over the finer ones.

    num_outs: levels returned for the queries, coarsest first. Padding is not masked, as in the authors' code.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        feat_channels: int,
        out_channels: int,
        encoder: Mapping[str, Any],
        strides: Sequence[int] = (4, 8, 16, 32),
        num_outs: int = 3,
        norm_cfg: Mapping[str, Any] | None = GN,
        act_cfg: Mapping[str, Any] = RELU,
        positional_encoding: Mapping[str, Any] = SINE,
    ) -> None:
        super().__init__()
        self.strides, self.num_outs = tuple(strides), num_outs
        self.encoder = make_encoder(encoder, deformable=True)
        self.postional_encoding = component({**SINE, **positional_encoding})
        self.num_levels = self.encoder.layers[0].self_attention.num_levels
        coarse, fine = in_channels[-self.num_levels :], in_channels[: -self.num_levels]
        self.input_convs = nn.ModuleList(
            ConvModule(c, feat_channels, 1, norm_cfg=norm_cfg, act_cfg=None, bias=True) for c in reversed(coarse)
        )
        self.level_encoding = nn.Embedding(self.num_levels, feat_channels)
        self.lateral_convs = nn.ModuleList(
            ConvModule(c, feat_channels, 1, norm_cfg=norm_cfg, act_cfg=None) for c in reversed(fine)
        )
        self.output_convs = nn.ModuleList(
            ConvModule(feat_channels, feat_channels, 3, padding=1, norm_cfg=norm_cfg, act_cfg=act_cfg) for _ in fine
        )
        self.mask_feature = nn.Conv2d(feat_channels, out_channels, 1)
        init_convs(self)
        init_transformer(self.encoder)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Pixel embeddings (N, out_channels, H, W), and `num_outs` maps (N, feat_channels, h, w), coarsest first.

        features: per level (N, C_i, H_i, W_i), finest first.
        """
        outputs = self.encode(features[::-1][: self.num_levels])
        rest = features[::-1][self.num_levels :]
        for feature, lateral, output in zip(rest, self.lateral_convs, self.output_convs):
            inner = lateral(feature)
            coarse = F.interpolate(outputs[-1], size=inner.shape[-2:], mode="bilinear", align_corners=False)
            outputs.append(output(inner + coarse))
        return self.mask_feature(outputs[-1]), outputs[: self.num_outs]

    def encode(self, features: Sequence[Tensor]) -> list[Tensor]:
        """The encoder's maps. features: (N, C_i, h, w), coarsest first."""
        maps = [conv(x) for conv, x in zip(self.input_convs, features)]
        positions = [
            self.postional_encoding(x.new_zeros(x[:, 0].shape, dtype=torch.bool)) + level[:, None, None]
            for x, level in zip(maps, self.level_encoding.weight)
        ]
        shapes = map_shapes(maps)
        whole = maps[0].new_ones(len(maps[0]), len(maps), 2)
        memory = self.encoder(
            join(maps), query_pos=join(positions), reference_points=reference_points(shapes, whole), shapes=shapes
        )
        parts = memory.transpose(1, 2).split([h * w for h, w in shapes], dim=2)
        return [part.reshape(*part.shape[:2], *shape) for part, shape in zip(parts, shapes)]
