"""MaskFormer's head: a class and a mask per query (Cheng et al., 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.build import component
from zoo.models.query_heads.detr_head import SINE
from zoo.models.transformer.detr_layers import make_decoder
from zoo.models.transformer.layers import init_transformer
from zoo.models.transformer.padding import padding_at, tokens


class MaskQueryHead(nn.Module):
    """Base of heads whose queries predict a class, or "no object", and an embedding that picks its pixels.

    num_things_classes: come first among the classes, num_stuff_classes: behind them. cross_first: whether a decoder
    whose description does not say so looks at the image before its queries look at each other.
    """

    learns_masks = True
    learns_semantic = True
    cross_first = False

    def __init__(
        self,
        in_channels: Sequence[int],
        feat_channels: int,
        out_channels: int,
        pixel_decoder: Mapping[str, Any],
        transformer_decoder: Mapping[str, Any],
        num_things_classes: int = 80,
        num_stuff_classes: int = 53,
        num_queries: int = 100,
        positional_encoding: Mapping[str, Any] = SINE,
        loss_cls: Mapping[str, Any] | None = None,
        loss_mask: Mapping[str, Any] | None = None,
        loss_dice: Mapping[str, Any] | None = None,
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.num_things_classes, self.num_stuff_classes = num_things_classes, num_stuff_classes
        self.num_classes, self.num_queries = num_things_classes + num_stuff_classes, num_queries
        self.loss_cfg = {"cls": loss_cls, "mask": loss_mask, "dice": loss_dice}
        self.train_cfg, self.test_cfg = train_cfg or {}, test_cfg or {}
        channels = {"in_channels": in_channels, "feat_channels": feat_channels, "out_channels": out_channels}
        self.pixel_decoder = component({**pixel_decoder, **channels})
        self.transformer_decoder = make_decoder(transformer_decoder, cross_first=self.cross_first)
        init_transformer(self.transformer_decoder)
        self.positions = component({**SINE, **positional_encoding})
        self.query_embed = nn.Embedding(num_queries, feat_channels)
        self.cls_embed = nn.Linear(feat_channels, self.num_classes + 1)
        hidden = [m for _ in range(2) for m in (nn.Linear(feat_channels, feat_channels), nn.ReLU(inplace=True))]
        self.mask_embed = nn.Sequential(*hidden, nn.Linear(feat_channels, out_channels))

    def classify(self, states: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits (..., N, Q, num_classes + 1) and mask logits (..., N, Q, H, W).

        states: (..., N, Q, C). pixels: (N, C', H, W).
        """
        return self.cls_embed(states), torch.einsum("...nqc,nchw->...nqhw", self.mask_embed(states), pixels)


class MaskFormerHead(MaskQueryHead):
    """DETR's decoder on one coarse map.

    enforce_decoder_input_project: a projection of the backbone's last map even where the widths agree.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        pixel_decoder: Mapping[str, Any],
        enforce_decoder_input_project: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(in_channels=in_channels, pixel_decoder=pixel_decoder, **kwargs)
        width = self.transformer_decoder.embed_dims
        plain = pixel_decoder["type"] == "PixelDecoder"
        project = plain and (enforce_decoder_input_project or width != in_channels[-1])
        self.decoder_input_proj = nn.Conv2d(in_channels[-1], width, 1) if project else nn.Identity()

    def forward(self, features: Sequence[Tensor], padding: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits (layers, N, Q, num_classes + 1) and mask logits (layers, N, Q, H / 4, W / 4).

        features: per level (N, C_i, H_i, W_i), finest first. padding: (N, H, W) bool at input resolution.
        """
        pixels, memory = self.pixel_decoder(features, padding)
        mask = padding_at(padding, memory)
        query_pos = self.query_embed.weight.expand(memory.shape[0], -1, -1)
        states = self.transformer_decoder(
            torch.zeros_like(query_pos),
            memory=tokens(self.decoder_input_proj(memory)),
            query_pos=query_pos,
            memory_pos=tokens(self.positions(mask)),
            memory_padding=mask.flatten(1),
        )
        return self.classify(states, pixels)
