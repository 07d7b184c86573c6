"""Side-aware boundary localization on RetinaNet (Wang et al., 2020, section 3.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.build import component
from zoo.models.dense_heads.anchor_head import AnchorHead
from zoo.models.dense_heads.selection import Level
from zoo.models.dense_heads.towers import init_dense, over_levels, run, tower
from zoo.structures import Detections, ImageGeometry


class SABLRetinaHead(AnchorHead):
    """One square anchor per cell, whose sides are found by buckets; how sure those are is a factor of the score.

    approx_anchor_generator: anchors by which training assigns objects.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        approx_anchor_generator: Mapping[str, Any],
        square_anchor_generator: Mapping[str, Any],
        bbox_coder: Mapping[str, Any],
        stacked_convs: int = 4,
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] | None = None,
        loss_bbox_cls: Mapping[str, Any] | None = None,
        loss_bbox_reg: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            num_classes, in_channels, anchor_generator=square_anchor_generator, bbox_coder=bbox_coder, **kwargs
        )
        self.loss_cfg.update(bbox_cls=loss_bbox_cls, bbox_reg=loss_bbox_reg)
        self.approx_generator = component(approx_anchor_generator)
        channels, outputs = self.feat_channels, 4 * self.bbox_coder.side_num
        self.cls_convs = tower(in_channels, channels, stacked_convs, norm_cfg, conv_cfg)
        self.reg_convs = tower(in_channels, channels, stacked_convs, norm_cfg, conv_cfg)
        self.retina_cls = nn.Conv2d(channels, self.cls_out_channels, 3, padding=1)
        self.retina_bbox_reg = nn.Conv2d(channels, outputs, 3, padding=1)
        self.retina_bbox_cls = nn.Conv2d(channels, outputs, 3, padding=1)
        init_dense(self, self.retina_cls)

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], ...]:
        """Per level (N, C, H, W): class logits (N, C, H, W), and bucket logits and offsets (N, 2 * 4 * S, H, W).

        Logits come first, then offsets.
        """
        return over_levels(self.forward_level, features)

    def forward_level(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """One level's maps."""
        region = run(self.reg_convs, x)
        buckets = torch.cat([self.retina_bbox_cls(region), self.retina_bbox_reg(region)], dim=1)
        return self.retina_cls(run(self.cls_convs, x)), buckets

    def predict_one(self, levels: list[Level], geometry: ImageGeometry) -> Detections:
        """One image's detections."""
        for level in levels:
            buckets = level.regression.chunk(2, dim=1)
            level.regression, level.quality = self.bbox_coder.decode(level.priors, buckets, size=geometry.size)
        return super().predict_one(levels, geometry)

    def decode(self, priors: Tensor, regression: Tensor, size: tuple[int, int]) -> Tensor:
        """What buckets and offsets say are boxes already."""
        return regression
