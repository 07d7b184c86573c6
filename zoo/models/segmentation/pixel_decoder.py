"""From backbone maps to per-pixel embeddings (Cheng et al., MaskFormer, 2021, section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.build import component
from zoo.models.layers.conv_module import RELU, ConvModule
from zoo.models.layers.fast_conv import FastConv2d
from zoo.models.query_heads.detr_head import SINE
from zoo.models.segmentation.solo_head import GN
from zoo.models.transformer.detr_layers import make_encoder
from zoo.models.transformer.layers import init_transformer
from zoo.models.transformer.padding import padding_at, tokens


class TopDown(nn.Module):
    """Base: lateral connections and convolutions that add finer and finer maps, as in a feature pyramid."""

    def __init__(
        self,
        in_channels: Sequence[int],
        feat_channels: int,
        out_channels: int,
        norm_cfg: Mapping[str, Any] | None = GN,
        act_cfg: Mapping[str, Any] = RELU,
    ) -> None:
        super().__init__()
        finer = in_channels[:-1]
        self.lateral_convs = nn.ModuleList(
            ConvModule(c, feat_channels, 1, norm_cfg=norm_cfg, act_cfg=None) for c in finer
        )
        self.output_convs = nn.ModuleList(
            ConvModule(feat_channels, feat_channels, 3, padding=1, norm_cfg=norm_cfg, act_cfg=act_cfg) for _ in finer
        )
        self.mask_feature = FastConv2d(feat_channels, out_channels, 3, padding=1)

    def decode(self, x: Tensor, features: Sequence[Tensor]) -> Tensor:
        """Pixel embeddings (N, out_channels, H, W) at the finest level, from the coarsest map `x` upwards."""
        steps = list(zip(features[:-1], self.lateral_convs, self.output_convs))
        for feature, lateral, output in reversed(steps):
            inner = lateral(feature)
            x = output(inner + F.interpolate(x, size=inner.shape[-2:], mode="nearest"))
        return self.mask_feature(x)


class PixelDecoder(TopDown):
    """The feature pyramid alone; the queries look at the backbone's last map."""

    def __init__(
        self,
        in_channels: Sequence[int],
        feat_channels: int,
        out_channels: int,
        norm_cfg: Mapping[str, Any] | None = GN,
        act_cfg: Mapping[str, Any] = RELU,
    ) -> None:
        super().__init__(in_channels, feat_channels, out_channels, norm_cfg, act_cfg)
        self.last_feat_conv = ConvModule(
            in_channels[-1], feat_channels, 3, padding=1, norm_cfg=norm_cfg, act_cfg=act_cfg
        )
        init_convs(self)

    def forward(self, features: Sequence[Tensor], padding: Tensor) -> tuple[Tensor, Tensor]:
        """Pixel embeddings (N, out_channels, H, W) and what the queries look at (N, C, h, w).

        features: per level (N, C_i, H_i, W_i), finest first. padding: (N, H', W') bool, not needed here.
        """
        return self.decode(self.last_feat_conv(features[-1]), features), features[-1]


class TransformerEncoderPixelDecoder(TopDown):
    """A transformer encoder on the coarsest map, then the feature pyramid; the queries look at the encoder's result."""

    def __init__(
        self,
        in_channels: Sequence[int],
        feat_channels: int,
        out_channels: int,
        encoder: Mapping[str, Any],
        norm_cfg: Mapping[str, Any] | None = GN,
        act_cfg: Mapping[str, Any] = RELU,
        positional_encoding: Mapping[str, Any] = SINE,
    ) -> None:
        super().__init__(in_channels, feat_channels, out_channels, norm_cfg, act_cfg)
        self.encoder = make_encoder(encoder)
        self.positional_encoding = component({**SINE, **positional_encoding})
        self.encoder_in_proj = nn.Conv2d(in_channels[-1], feat_channels, 1)
        self.encoder_out_proj = ConvModule(
            feat_channels, feat_channels, 3, padding=1, norm_cfg=norm_cfg, act_cfg=act_cfg
        )
        init_convs(self)
        init_transformer(self.encoder)

    def forward(self, features: Sequence[Tensor], padding: Tensor) -> tuple[Tensor, Tensor]:
        """Pixel embeddings (N, out_channels, H, W) and what the queries look at (N, feat_channels, h, w).

        features: per level (N, C_i, H_i, W_i), finest first. padding: (N, H', W') bool at input resolution.
        """
        x = self.encoder_in_proj(features[-1])
        mask = padding_at(padding, x)
        positions = tokens(self.positional_encoding(mask))
        memory = self.encoder(tokens(x), query_pos=positions, query_padding=mask.flatten(1))
        memory = memory.transpose(1, 2).reshape(x.shape)
        return self.decode(self.encoder_out_proj(memory), features), memory


def init_convs(module: nn.Module) -> None:
    """Kaiming's uniform initialization of all convolutions."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_uniform_(part.weight, a=1)
