"""EfficientDet's head (Tan et al., 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.dense_heads.anchor_head import AnchorHead
from zoo.models.dense_heads.selection import Level, detect_sized
from zoo.models.dense_heads.towers import over_levels, prior_bias
from zoo.models.layers.norm import make_norm
from zoo.models.layers.separable import BN, SeparableConv
from zoo.structures import Detections, ImageGeometry


class EfficientDetSepBNHead(AnchorHead):
    """Towers of separable convolutions, shared by the `num_ins` levels, each of which has its own batch norm."""

    def __init__(
        self,
        num_classes: int,
        num_ins: int,
        in_channels: int,
        feat_channels: int,
        stacked_convs: int = 3,
        norm_cfg: Mapping[str, Any] = BN,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, in_channels, feat_channels=feat_channels, **kwargs)

        def convs() -> nn.ModuleList:
            return nn.ModuleList(
                SeparableConv(in_channels if i == 0 else feat_channels, feat_channels) for i in range(stacked_convs)
            )

        def norms() -> nn.ModuleList:
            layers = [[make_norm(norm_cfg, feat_channels)[1] for _ in range(num_ins)] for _ in range(stacked_convs)]
            return nn.ModuleList(nn.ModuleList(layer) for layer in layers)

        self.reg_conv_list, self.cls_conv_list = convs(), convs()
        self.reg_bn_list, self.cls_bn_list = norms(), norms()
        self.cls_header = SeparableConv(in_channels, self.num_base_priors * self.cls_out_channels)
        self.reg_header = SeparableConv(in_channels, self.num_base_priors * 4)
        for conv in (*self.reg_conv_list, *self.cls_conv_list, self.reg_header):
            nn.init.zeros_(conv.pointwise_conv.bias)  # type: ignore[arg-type, union-attr]
        nn.init.constant_(self.cls_header.pointwise_conv.bias, prior_bias())  # type: ignore[arg-type]

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], ...]:
        """Per level (N, C, H, W): class logits (N, A * C, H, W) and deltas (N, A * 4, H, W)."""
        return over_levels(self.forward_level, features, range(len(features)))

    def forward_level(self, x: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """One level's maps."""
        logits = self.cls_header(through(self.cls_conv_list, self.cls_bn_list, x, level))
        return logits, self.reg_header(through(self.reg_conv_list, self.reg_bn_list, x, level))

    def predict_one(self, levels: list[Level], geometry: ImageGeometry) -> Detections:
        """One image's detections."""
        return detect_sized(levels, partial(self.decode, size=geometry.size), self.test_cfg)


def through(convs: nn.ModuleList, norms: nn.ModuleList, x: Tensor, level: int) -> Tensor:
    """A level's map (N, C, H, W) through a tower."""
    for conv, norm in zip(convs, norms):
        x = F.silu(norm[level](conv(x)))  # type: ignore[index]
    return x
