"""FCOS's head (Tian et al., Fully Convolutional One-Stage Object Detection, 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from zoo.models.dense_heads.anchor_head import AnchorHead
from zoo.models.dense_heads.atss import GN
from zoo.models.dense_heads.selection import Level, joint
from zoo.models.dense_heads.towers import init_dense, over_levels, run, tower
from zoo.models.layers.conv_module import ConvModule
from zoo.models.layers.scale import Scale
from zoo.models.priors.points import PointGenerator

INF = 1e8
RANGES = ((-1, 64), (64, 128), (128, 256), (256, 512), (512, INF))
FOCAL = {"type": "FocalLoss", "use_sigmoid": True}
DISTANCE = {"type": "DistancePointBBoxCoder"}
DCNV2 = {"type": "DCNv2"}


class FCOSHead(AnchorHead):
    """Classes, centerness and distances to the box's sides for every cell.

    strides: pixels per cell and level, each with a point in its middle unless `anchor_generator` says where.
    dcn_on_last_conv: each tower ends in a deformable convolution. norm_on_bbox: distances come in strides, else
    as logarithms of pixels. centerness_on_reg: centerness comes from the box tower. joint_score: the threshold sees the
    geometric mean of class score and centerness. regress_ranges: distances that each level is trained for;
    center_sampling, center_sample_radius: cells within so many strides of an object's center are trained for it.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        stacked_convs: int = 4,
        strides: Sequence[int] = (4, 8, 16, 32, 64),
        dcn_on_last_conv: bool = False,
        conv_bias: bool | str = "auto",
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] | None = GN,
        regress_ranges: Sequence[Sequence[float]] = RANGES,
        center_sampling: bool = False,
        center_sample_radius: float = 1.5,
        norm_on_bbox: bool = False,
        centerness_on_reg: bool = False,
        joint_score: bool = False,
        loss_cls: Mapping[str, Any] = FOCAL,
        bbox_coder: Mapping[str, Any] = DISTANCE,
        loss_centerness: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, in_channels, loss_cls=loss_cls, bbox_coder=bbox_coder, **kwargs)
        self.loss_cfg["centerness"] = loss_centerness
        self.regress_ranges, self.center_sampling = tuple(regress_ranges), center_sampling
        self.center_sample_radius = center_sample_radius
        self.norm_on_bbox, self.centerness_on_reg = norm_on_bbox, centerness_on_reg
        self.strides = tuple(strides)
        self.joint_score = joint_score
        self.prior_generator = self.prior_generator or PointGenerator(strides)
        special = {stacked_convs - 1: DCNV2} if dcn_on_last_conv else None
        options: dict[str, Any] = {"conv_cfg": conv_cfg, "special": special, "bias": conv_bias}
        self.cls_convs = tower(in_channels, self.feat_channels, stacked_convs, norm_cfg, **options)
        self.reg_convs = tower(in_channels, self.feat_channels, stacked_convs, norm_cfg, **options)
        self.add_predictors()

    def add_predictors(self) -> None:
        """The convolutions behind the towers."""
        self.conv_cls = nn.Conv2d(self.feat_channels, self.cls_out_channels, 3, padding=1)
        self.conv_reg = nn.Conv2d(self.feat_channels, 4, 3, padding=1)
        self.conv_centerness = nn.Conv2d(self.feat_channels, 1, 3, padding=1)
        self.scales = nn.ModuleList(Scale() for _ in self.strides)
        init_dense(self, self.conv_cls)

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], ...]:
        """Per level (N, C, H, W): class logits (N, C, H, W), distances (N, 4, H, W), centerness logits (N, 1, H, W).

        Distances are in pixels; in training with `norm_on_bbox` in strides.
        """
        return over_levels(self.forward_level, features, self.scales, self.strides)

    def forward_level(self, x: Tensor, scale: nn.Module, stride: int) -> tuple[Tensor, Tensor, Tensor]:
        """One level's maps."""
        classes, region = run(self.cls_convs, x), run(self.reg_convs, x)
        centerness = self.conv_centerness(region if self.centerness_on_reg else classes)
        distances = self.distances(scale(self.conv_reg(region)).float(), stride)
        return self.conv_cls(classes), distances, centerness

    def distances(self, x: Tensor, stride: int) -> Tensor:
        """What the box branch predicts, (N, 4, H, W), as distances that are not negative."""
        if not self.norm_on_bbox:
            return x.exp()
        return x.clamp(min=0) if self.training else x.clamp(min=0) * stride

    def levels(self, outputs: Sequence[Sequence[Tensor]], image: int) -> list[Level]:
        """One image's predictions, level by level."""
        levels = super().levels(outputs, image)
        return [replace(level, scores=joint(level), quality=None) for level in levels] if self.joint_score else levels


class NASFCOSHead(FCOSHead):
    """FCOS with the towers that a search found (Wang et al., NAS-FCOS, 2020)."""

    def __init__(
        self, num_classes: int, in_channels: int, norm_cfg: Mapping[str, Any] | None = GN, **kwargs: Any
    ) -> None:
        super().__init__(num_classes, in_channels, stacked_convs=0, norm_cfg=norm_cfg, **kwargs)
        self.cls_convs = searched_tower(in_channels, self.feat_channels, norm_cfg)
        self.reg_convs = searched_tower(in_channels, self.feat_channels, norm_cfg)
        init_dense(self, self.conv_cls)


def searched_tower(in_channels: int, channels: int, norm_cfg: Mapping[str, Any] | None) -> nn.ModuleList:
    """Deformable 3x3, 3x3, deformable 3x3, 1x1."""
    deformable = {"type": "DCNv2", "deform_groups": 2}
    common: dict[str, Any] = {"norm_cfg": norm_cfg, "bias": False}
    return nn.ModuleList(
        [
            ConvModule(in_channels, channels, 3, padding=1, conv_cfg=deformable, norm_cfg=norm_cfg, bias=True),
            ConvModule(channels, channels, 3, padding=1, **common),
            ConvModule(channels, channels, 3, padding=1, conv_cfg=deformable, norm_cfg=norm_cfg, bias=True),
            ConvModule(channels, channels, 1, **common),
        ]
    )
