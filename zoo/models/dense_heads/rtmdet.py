"""RTMDet's head (Lyu et al., An Empirical Study of Designing Real-Time Object Detectors, 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.dense_heads.anchor_head import AnchorHead
from zoo.models.dense_heads.selection import Level, detect_sized
from zoo.models.dense_heads.towers import init_dense, over_levels, run, tower
from zoo.models.layers.csp import YOLOX_BN
from zoo.structures import Detections, ImageGeometry

SILU = {"type": "SiLU"}
QUALITY = {"type": "QualityFocalLoss", "use_sigmoid": True}
DISTANCE = {"type": "DistancePointBBoxCoder"}


class RTMDetSepBNHead(AnchorHead):
    """Classes and distances to the box's sides for every cell, from two towers.

    Every level has towers of its own; with `share_conv` their convolutions are the same, but not their normalization.
    with_objectness: class scores are geometric means with an objectness. exp_on_reg: distances come as logarithms of
    strides, else as strides, of any sign. tta_iou, tta_pads_to_largest: the published test-time augmentation.
    """

    tta_iou, tta_pads_to_largest = 0.6, True

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        stacked_convs: int = 4,
        share_conv: bool = True,
        with_objectness: bool = True,
        exp_on_reg: bool = False,
        pred_kernel_size: int = 1,
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] = YOLOX_BN,
        act_cfg: Mapping[str, Any] = SILU,
        loss_cls: Mapping[str, Any] = QUALITY,
        bbox_coder: Mapping[str, Any] = DISTANCE,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, in_channels, loss_cls=loss_cls, bbox_coder=bbox_coder, **kwargs)
        self.exp_on_reg, self.with_objectness, self.kernel = exp_on_reg, with_objectness, pred_kernel_size
        self.strides = [stride[0] for stride in self.prior_generator.strides]
        self.tower_options: dict[str, Any] = {"norm_cfg": norm_cfg, "conv_cfg": conv_cfg, "act_cfg": act_cfg}
        self.cls_convs = self.towers(stacked_convs, share_conv)
        self.reg_convs = self.box_towers(stacked_convs, share_conv)
        self.rtm_cls = self.predictors(self.cls_out_channels)
        self.rtm_reg = self.predictors(4)
        self.rtm_obj = self.predictors(1) if with_objectness else None
        init_dense(self, *self.rtm_cls, *(self.rtm_obj or ()))  # type: ignore[arg-type]

    def towers(self, depth: int, shared: bool) -> nn.ModuleList:
        """A tower for each level. shared: they have the same convolutions."""
        towers = [tower(self.in_channels, self.feat_channels, depth, **self.tower_options) for _ in self.strides]
        for other in towers[1:] if shared else ():
            for layer, first in zip(other, towers[0]):
                layer.conv = first.conv
        return nn.ModuleList(towers)

    def box_towers(self, depth: int, shared: bool) -> nn.ModuleList:
        """The towers of the box branch."""
        return self.towers(depth, shared)

    def predictors(self, channels: int) -> nn.ModuleList:
        """A last convolution for each level."""
        size = self.kernel
        return nn.ModuleList(nn.Conv2d(self.feat_channels, channels, size, padding=size // 2) for _ in self.strides)

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], ...]:
        """Per level (N, C, H, W): class logits (N, num_classes, H, W) and distances (N, 4, H, W) in pixels."""
        return over_levels(self.forward_level, features, range(len(self.strides)))

    def forward_level(self, x: Tensor, level: int) -> tuple[Tensor, ...]:
        """One level's maps."""
        region = run(self.reg_convs[level], x)  # type: ignore[arg-type]
        logits = self.rtm_cls[level](run(self.cls_convs[level], x))  # type: ignore[arg-type]
        if self.rtm_obj is not None:
            logits = geometric_mean(logits, self.rtm_obj[level](region))
        return logits, self.distances(self.rtm_reg[level](region)) * self.strides[level]

    def distances(self, x: Tensor) -> Tensor:
        """What the box branch predicts, in strides."""
        return x.exp() if self.exp_on_reg else x

    def predict_one(self, levels: list[Level], geometry: ImageGeometry) -> Detections:
        """One image's detections."""
        return detect_sized(levels, partial(self.decode, size=geometry.size), self.test_cfg)


def geometric_mean(logits: Tensor, others: Tensor) -> Tensor:
    """Logits of the geometric mean of two probabilities that are given as logits."""
    return torch.logit((logits.sigmoid() * others.sigmoid()).sqrt(), eps=1e-3)
