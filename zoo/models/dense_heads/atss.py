"""ATSS's head (Zhang et al., Bridging the Gap Between Anchor-based and Anchor-free Detection, 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from zoo.models.dense_heads.anchor_head import AnchorHead
from zoo.models.dense_heads.towers import init_dense, over_levels, run, tower
from zoo.models.layers.scale import Scale

GN = {"type": "GN", "num_groups": 32, "requires_grad": True}


class ATSSHead(AnchorHead):
    """Classes, one box per cell and its centerness; two towers shared by all levels.

    pred_kernel_size: of the last convolutions. first_conv_cfg: another kind of convolution at the start of each tower.
    """

    # Name of the convolution that predicts a box's quality.
    quality = "atss_centerness"

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        pred_kernel_size: int = 3,
        stacked_convs: int = 4,
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] | None = GN,
        first_conv_cfg: Mapping[str, Any] | None = None,
        reg_decoded_bbox: bool = True,
        loss_centerness: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, in_channels, reg_decoded_bbox=reg_decoded_bbox, **kwargs)
        self.loss_cfg["centerness"] = loss_centerness
        channels, anchors = self.feat_channels, self.num_base_priors
        special = {0: first_conv_cfg} if first_conv_cfg else None
        self.cls_convs = tower(in_channels, channels, stacked_convs, norm_cfg, conv_cfg, special)
        self.reg_convs = tower(in_channels, channels, stacked_convs, norm_cfg, conv_cfg, special)
        kernel: dict[str, Any] = {"kernel_size": pred_kernel_size, "padding": pred_kernel_size // 2}
        self.atss_cls = nn.Conv2d(channels, anchors * self.cls_out_channels, **kernel)
        self.atss_reg = nn.Conv2d(channels, anchors * 4, **kernel)
        self.add_module(self.quality, nn.Conv2d(channels, anchors, **kernel))
        self.scales = nn.ModuleList(Scale() for _ in self.prior_generator.strides)
        init_dense(self, self.atss_cls)

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], ...]:
        """Per level (N, C, H, W): logits (N, A * C, H, W), deltas (N, A * 4, H, W), quality logits (N, A, H, W)."""
        return over_levels(self.forward_level, features, self.scales)

    def forward_level(self, x: Tensor, scale: nn.Module) -> tuple[Tensor, Tensor, Tensor]:
        """One level's maps."""
        classes, region = run(self.cls_convs, x), run(self.reg_convs, x)
        return self.atss_cls(classes), scale(self.atss_reg(region)).float(), getattr(self, self.quality)(region)


class CoATSSHead(ATSSHead):
    """The same; Co-DETR makes queries of its positive anchors in training (Zong et al., 2023)."""
