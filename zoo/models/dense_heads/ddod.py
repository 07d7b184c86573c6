"""DDOD's head (Chen et al., Disentangle Your Dense Object Detector, 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from zoo.models.dense_heads.anchor_head import AnchorHead
from zoo.models.dense_heads.atss import GN
from zoo.models.dense_heads.towers import init_dense, over_levels, run, tower
from zoo.models.layers.scale import Scale

DCN = {"type": "DCN", "deform_groups": 1}


class DDODHead(AnchorHead):
    """Classes, one box per cell and its expected IoU; each tower starts with a deformable convolution of its own."""

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        stacked_convs: int = 4,
        conv_cfg: Mapping[str, Any] | None = None,
        use_dcn: bool = True,
        norm_cfg: Mapping[str, Any] | None = GN,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        channels, anchors = self.feat_channels, self.num_base_priors
        special = {0: DCN} if use_dcn else None
        self.cls_convs = tower(in_channels, channels, stacked_convs, norm_cfg, conv_cfg, special)
        self.reg_convs = tower(in_channels, channels, stacked_convs, norm_cfg, conv_cfg, special)
        self.atss_cls = nn.Conv2d(channels, anchors * self.cls_out_channels, 3, padding=1)
        self.atss_reg = nn.Conv2d(channels, anchors * 4, 3, padding=1)
        self.atss_iou = nn.Conv2d(channels, anchors, 3, padding=1)
        self.scales = nn.ModuleList(Scale() for _ in self.prior_generator.strides)
        init_dense(self, self.atss_cls)

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], ...]:
        """Per level (N, C, H, W): class logits (N, A * C, H, W), deltas (N, A * 4, H, W), IoU logits (N, A, H, W)."""
        return over_levels(self.forward_level, features, self.scales)

    def forward_level(self, x: Tensor, scale: nn.Module) -> tuple[Tensor, Tensor, Tensor]:
        """One level's maps."""
        region = run(self.reg_convs, x)
        return self.atss_cls(run(self.cls_convs, x)), scale(self.atss_reg(region)).float(), self.atss_iou(region)
