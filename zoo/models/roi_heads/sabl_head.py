"""Side-aware boundary localization of regions (Wang et al., 2019, section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.build import component
from zoo.models.layers.conv_module import ConvModule
from zoo.models.layers.conv_stack import conv_stack, run
from zoo.models.layers.linear import fc_stack, run_fcs
from zoo.models.layers.nms import multiclass_nms
from zoo.structures import Detections, ImageGeometry

BUCKETS = {"type": "BucketingBBoxCoder", "num_buckets": 14, "scale_factor": 1.7}
Sides = tuple[Tensor, Tensor]


class SABLHead(nn.Module):
    """Classes from linear layers; each side of the box from features pooled by attention along the other direction.

    reg_feat_up_ratio: how many buckets a cell of the region's features becomes. reg_pre_num, reg_post_num: convolutions
    before and after pooling. cls_out_channels, num_cls_fcs: of the class branch. reg_cls_out_channels,
    reg_offset_out_channels, num_reg_fcs: of the branches for the buckets' scores and offsets.
    """

    def __init__(
        self,
        num_classes: int,
        cls_in_channels: int = 256,
        reg_in_channels: int = 256,
        roi_feat_size: int = 7,
        reg_feat_up_ratio: int = 2,
        reg_pre_kernel: int = 3,
        reg_post_kernel: int = 3,
        reg_pre_num: int = 2,
        reg_post_num: int = 1,
        cls_out_channels: int = 1024,
        reg_offset_out_channels: int = 256,
        reg_cls_out_channels: int = 256,
        num_cls_fcs: int = 1,
        num_reg_fcs: int = 0,
        reg_class_agnostic: bool = True,
        norm_cfg: Mapping[str, Any] | None = None,
        bbox_coder: Mapping[str, Any] = BUCKETS,
        loss_cls: Mapping[str, Any] | None = None,
        loss_bbox_cls: Mapping[str, Any] | None = None,
        loss_bbox_reg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.num_classes, self.reg_class_agnostic = num_classes, reg_class_agnostic
        self.loss_cfg = {"cls": loss_cls, "bbox_cls": loss_bbox_cls, "bbox_reg": loss_bbox_reg}
        self.bbox_coder = component(bbox_coder)
        self.cls_fcs, channels = fc_stack(num_cls_fcs, cls_in_channels * roi_feat_size**2, cls_out_channels)
        self.fc_cls = nn.Linear(channels, num_classes + 1)
        c, ratio, kernel = reg_in_channels, reg_feat_up_ratio, reg_post_kernel
        self.reg_pre_convs = conv_stack(reg_pre_num, c, c, reg_pre_kernel, norm_cfg=norm_cfg)
        self.reg_post_conv_xs = nn.ModuleList(
            ConvModule(c, c, (1, kernel), padding=(0, kernel // 2), norm_cfg=norm_cfg) for _ in range(reg_post_num)
        )
        self.reg_post_conv_ys = nn.ModuleList(
            ConvModule(c, c, (kernel, 1), padding=(kernel // 2, 0), norm_cfg=norm_cfg) for _ in range(reg_post_num)
        )
        self.reg_conv_att_x, self.reg_conv_att_y = nn.Conv2d(c, 1, 1), nn.Conv2d(c, 1, 1)
        self.upsample_x = nn.ConvTranspose1d(c, c, ratio, stride=ratio) if ratio > 1 else None
        self.upsample_y = nn.ConvTranspose1d(c, c, ratio, stride=ratio) if ratio > 1 else None
        self.reg_cls_fcs, cls_width = fc_stack(num_reg_fcs, c, reg_cls_out_channels)
        self.reg_offset_fcs, offset_width = fc_stack(num_reg_fcs, c, reg_offset_out_channels)
        self.fc_reg_cls, self.fc_reg_offset = nn.Linear(cls_width, 1), nn.Linear(offset_width, 1)
        self.init_weights()

    def init_weights(self) -> None:
        """Small weights in front of the outputs."""
        for layer in (self.reg_conv_att_x, self.reg_conv_att_y, self.fc_reg_cls, self.fc_cls):
            nn.init.normal_(layer.weight, std=0.01)  # type: ignore[arg-type]
        nn.init.normal_(self.fc_reg_offset.weight, std=0.001)

    def forward(self, x: Tensor) -> tuple[Tensor, Sides]:
        """Region features (M, C, h, w) to class logits (M, num_classes + 1), bucket logits and offsets (M, 4 * S)."""
        logits = self.fc_cls(run_fcs(self.cls_fcs, x.flatten(1)))
        return logits, self.side_outputs(*self.side_features(x))

    def side_features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features of the buckets from left to right and from top to bottom, each (M, num_buckets, C)."""
        x = run(self.reg_pre_convs, x)
        along_x = attention_pool(x, self.reg_conv_att_x, dim=2)
        along_y = attention_pool(x, self.reg_conv_att_y, dim=3)
        along_x = run(self.reg_post_conv_xs, along_x).squeeze(2)
        along_y = run(self.reg_post_conv_ys, along_y).squeeze(3)
        if self.upsample_x is not None and self.upsample_y is not None:
            along_x, along_y = F.relu(self.upsample_x(along_x)), F.relu(self.upsample_y(along_y))
        return along_x.transpose(1, 2), along_y.transpose(1, 2)

    def side_outputs(self, along_x: Tensor, along_y: Tensor) -> Sides:
        """Bucket logits and offsets (M, 4 * S): left, right, top, bottom, each counted inwards."""
        branches = ((self.reg_cls_fcs, self.fc_reg_cls), (self.reg_offset_fcs, self.fc_reg_offset))
        maps = [[last(run_fcs(fcs, x)).squeeze(-1) for x in (along_x, along_y)] for fcs, last in branches]
        logits, offsets = (torch.cat([inwards(x), inwards(y)], dim=1) for x, y in maps)
        return logits, offsets

    def predict(
        self, regions: Tensor, logits: Tensor, sides: Sides, geometry: ImageGeometry, cfg: Mapping[str, Any]
    ) -> Detections:
        """One image's detections, in input coordinates. cfg: `score_thr`, `nms`, `max_per_img`."""
        boxes, confidence = self.bbox_coder.decode(regions, sides, size=geometry.size)
        scores = logits.softmax(-1)[:, :-1]
        return multiclass_nms(boxes, scores, cfg["score_thr"], cfg["nms"], cfg["max_per_img"], confidence)

    def refine(
        self, regions: Tensor, logits: Tensor, sides: Sides, geometry: ImageGeometry, labels: Tensor | None = None
    ) -> Tensor:
        """The regions (M, 4) of a cascade's next stage. labels: do not matter, the sides are those of any class."""
        return self.bbox_coder.decode(regions, sides, size=geometry.size)[0]


def attention_pool(x: Tensor, attention: nn.Module, dim: int) -> Tensor:
    """The mean of maps (M, C, h, w) along `dim`, which stays with size 1, weighted by attention."""
    weight = attention(x).sigmoid()
    return (x * (weight / weight.sum(dim=dim, keepdim=True))).sum(dim=dim, keepdim=True)


def inwards(x: Tensor) -> Tensor:
    """Values (M, B) of buckets in a row as (M, 2 * S): those of the first half, then of the second, from the end."""
    half = (x.shape[1] + 1) // 2
    return torch.cat([x[:, :half], x.flip(dims=(1,))[:, :half]], dim=1)
