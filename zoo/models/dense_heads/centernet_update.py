"""The one-stage detector of CenterNet2 (Zhou et al., Probabilistic Two-Stage Detection, 2021, section 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from zoo.models.dense_heads.anchor_head import AnchorHead
from zoo.models.dense_heads.atss import GN
from zoo.models.dense_heads.selection import Level, detect_sized
from zoo.models.dense_heads.towers import init_dense, over_levels, run, tower
from zoo.models.layers.scale import Scale
from zoo.models.priors.points import PointGenerator
from zoo.structures import Detections, ImageGeometry

INF = 1e9
RANGES = ((0, 80), (64, 160), (128, 320), (256, 640), (512, INF))
HEAT = {"type": "GaussianFocalLoss", "pos_weight": 0.25, "neg_weight": 0.75, "loss_weight": 1.0}
GIOU = {"type": "GIoULoss", "loss_weight": 2.0}
DISTANCE = {"type": "DistancePointBBoxCoder"}


class CenterNetUpdateHead(AnchorHead):
    """A heatmap of every class and distances to the box's sides for every cell, on all levels of a pyramid.

    regress_ranges: half diagonals of the objects that each level is trained for. hm_min_radius, hm_min_overlap: of an
    object's spot in the heatmap. more_pos_thresh, more_pos_topk: cells around an object's center become positives, too,
    where their boxes are as good; at most so many. soft_weight_on_reg: boxes count by the heatmap.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        stacked_convs: int = 4,
        strides: Sequence[int] = (4, 8, 16, 32, 64),
        regress_ranges: Sequence[Sequence[float]] = RANGES,
        hm_min_radius: int = 4,
        hm_min_overlap: float = 0.8,
        more_pos_thresh: float = 0.2,
        more_pos_topk: int = 9,
        soft_weight_on_reg: bool = False,
        conv_bias: bool | str = "auto",
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] | None = GN,
        loss_cls: Mapping[str, Any] = HEAT,
        loss_bbox: Mapping[str, Any] = GIOU,
        bbox_coder: Mapping[str, Any] = DISTANCE,
        **kwargs: Any,
    ) -> None:
        sigmoid = {**loss_cls, "use_sigmoid": True}
        super().__init__(
            num_classes, in_channels, loss_cls=sigmoid, loss_bbox=loss_bbox, bbox_coder=bbox_coder, **kwargs
        )
        self.loss_cfg["cls"] = loss_cls
        self.strides, self.regress_ranges = tuple(strides), tuple(regress_ranges)
        self.min_radius, self.delta = hm_min_radius, (1 - hm_min_overlap) / (1 + hm_min_overlap)
        self.more_threshold, self.more_count, self.soft_weight = more_pos_thresh, more_pos_topk, soft_weight_on_reg
        self.prior_generator = PointGenerator(strides)
        options: dict[str, Any] = {"conv_cfg": conv_cfg, "bias": conv_bias}
        self.cls_convs = tower(in_channels, self.feat_channels, stacked_convs, norm_cfg, **options)
        self.reg_convs = tower(in_channels, self.feat_channels, stacked_convs, norm_cfg, **options)
        self.conv_cls = nn.Conv2d(self.feat_channels, num_classes, 3, padding=1)
        self.conv_reg = nn.Conv2d(self.feat_channels, 4, 3, padding=1)
        self.scales = nn.ModuleList(Scale() for _ in strides)
        init_dense(self, self.conv_cls)

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], ...]:
        """Per level (N, C, H, W): logits (N, num_classes, H, W) and distances (N, 4, H, W).

        Distances are in pixels, in training in strides.
        """
        return over_levels(self.forward_level, features, self.scales, self.strides)

    def forward_level(self, x: Tensor, scale: nn.Module, stride: int) -> tuple[Tensor, Tensor]:
        """One level's maps."""
        distances = scale(self.conv_reg(run(self.reg_convs, x))).float().clamp(min=0)
        return self.conv_cls(run(self.cls_convs, x)), distances if self.training else distances * stride

    def predict(
        self, outputs: Sequence[Sequence[Tensor]], geometries: Sequence[ImageGeometry], input_size: Any = None
    ) -> list[Detections]:
        """Detections in input coordinates."""
        return super().predict(outputs, geometries)

    def predict_one(self, levels: list[Level], geometry: ImageGeometry) -> Detections:
        """One image's detections."""
        return detect_sized(levels, partial(self.decode, size=geometry.size), self.test_cfg)
