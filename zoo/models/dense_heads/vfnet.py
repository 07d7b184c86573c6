"""VarifocalNet's head (Zhang et al., An IoU-aware Dense Object Detector, 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.build import component
from zoo.models.dense_heads.anchor_head import AnchorHead
from zoo.models.dense_heads.atss import GN
from zoo.models.dense_heads.fcos import DCNV2, DISTANCE, RANGES
from zoo.models.dense_heads.towers import init_dense, over_levels, run, tower
from zoo.models.layers.conv_module import ConvModule
from zoo.models.layers.deform_conv import DeformConv, kernel_elements
from zoo.models.layers.scale import Scale
from zoo.models.priors.points import PointGenerator
from zoo.structures import Detections, ImageGeometry

ANCHORS = {
    "type": "AnchorGenerator",
    "ratios": [1.0],
    "octave_base_scale": 8,
    "scales_per_octave": 1,
    "center_offset": 0.0,
    "strides": [8, 16, 32, 64, 128],
}
VARIFOCAL = {"type": "VarifocalLoss", "use_sigmoid": True}


class VFNetHead(AnchorHead):
    """A first box from every cell; features sampled on its outline give the scores and a refined box.

    bbox_norm_type: first distances are in units of the level's largest trained distance ("reg_denom") or in strides
    ("stride"). use_atss: training assigns by anchors, whose centers are the points; else by `regress_ranges` and
    `center_sampling` as FCOS. gradient_mul: share of the gradient that flows through the outline. use_vfl: varifocal
    loss; sync_num_pos: its normalizer is averaged over processes.
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
        sync_num_pos: bool = True,
        gradient_mul: float = 0.1,
        bbox_norm_type: str = "reg_denom",
        use_vfl: bool = True,
        use_atss: bool = True,
        anchor_generator: Mapping[str, Any] = ANCHORS,
        loss_cls: Mapping[str, Any] = VARIFOCAL,
        bbox_coder: Mapping[str, Any] = DISTANCE,
        reg_decoded_bbox: bool = True,
        loss_bbox_refine: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        fixed: dict[str, Any] = {"loss_cls": loss_cls, "bbox_coder": bbox_coder, "reg_decoded_bbox": reg_decoded_bbox}
        super().__init__(num_classes, in_channels, **fixed, **kwargs)
        self.loss_cfg["bbox_refine"] = loss_bbox_refine
        self.regress_ranges, self.center_sampling = tuple(regress_ranges), center_sampling
        self.center_sample_radius, self.sync_num_pos = center_sample_radius, sync_num_pos
        self.gradient_mul, self.use_vfl, self.use_atss = gradient_mul, use_vfl, use_atss
        self.strides = tuple(strides)
        self.units: tuple[float, ...] = self.strides
        if bbox_norm_type == "reg_denom":
            largest = [high for _, high in regress_ranges[:-1]]
            self.units = (*largest, largest[-1] * 2)
        self.atss_prior_generator = component(anchor_generator)
        offset = anchor_generator.get("center_offset", 0.0) if use_atss else 0.5
        self.prior_generator = PointGenerator(anchor_generator["strides"], offset)
        options: dict[str, Any] = {"norm_cfg": norm_cfg, "conv_cfg": conv_cfg, "bias": conv_bias}
        special = {stacked_convs - 1: DCNV2} if dcn_on_last_conv else None
        channels = self.feat_channels
        self.cls_convs = tower(in_channels, channels, stacked_convs, special=special, **options)
        self.reg_convs = tower(in_channels, channels, stacked_convs, special=special, **options)
        self.vfnet_reg_conv = ConvModule(channels, channels, 3, padding=1, **options)
        self.vfnet_reg = nn.Conv2d(channels, 4, 3, padding=1)
        self.vfnet_reg_refine_dconv = DeformConv(channels, channels, 3, padding=1)
        self.vfnet_reg_refine = nn.Conv2d(channels, 4, 3, padding=1)
        self.vfnet_cls_dconv = DeformConv(channels, channels, 3, padding=1)
        self.vfnet_cls = nn.Conv2d(channels, self.cls_out_channels, 3, padding=1)
        self.scales = nn.ModuleList(Scale() for _ in self.strides)
        self.scales_refine = nn.ModuleList(Scale() for _ in self.strides)
        init_dense(self, self.vfnet_cls)

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], ...]:
        """Per level (N, C, H, W): class logits (N, C, H, W), refined and first distances (N, 4, H, W) in pixels."""
        levels = (features, self.scales, self.scales_refine, self.strides, self.units)
        return over_levels(self.forward_level, *levels)

    def forward_level(
        self, x: Tensor, scale: nn.Module, scale_refine: nn.Module, stride: int, unit: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One level's maps."""
        classes, region = run(self.cls_convs, x), run(self.reg_convs, x)
        first = scale(self.vfnet_reg(self.vfnet_reg_conv(region))).float().exp() * unit
        outline = (1 - self.gradient_mul) * first.detach() + self.gradient_mul * first
        offsets = star_offsets(outline / stride).to(region.dtype)
        region = F.relu(self.vfnet_reg_refine_dconv(region, offsets))
        refined = scale_refine(self.vfnet_reg_refine(region)).float().exp() * first.detach()
        return self.vfnet_cls(F.relu(self.vfnet_cls_dconv(classes, offsets))), refined, first

    def predict(self, outputs: Sequence[Sequence[Tensor]], geometries: Sequence[ImageGeometry]) -> list[Detections]:
        """Detections in input coordinates, from the refined boxes."""
        return super().predict(outputs[:2], geometries)


def star_offsets(distances: Tensor) -> Tensor:
    """Offsets (N, 18, H, W) that put a 3x3 kernel on a box's center, corners and the middles of its sides.

    distances: (N, 4, H, W) to the left, top, right and bottom sides, in cells.
    """
    left, top, right, bottom = distances.unbind(dim=1)
    rows = torch.stack([-top, torch.zeros_like(top), bottom], dim=1)[:, :, None].expand(-1, -1, 3, -1, -1)
    columns = torch.stack([-left, torch.zeros_like(left), right], dim=1)[:, None].expand(-1, 3, -1, -1, -1)
    return torch.stack([rows, columns], dim=3).flatten(1, 3) - kernel_elements(3, distances)
