"""YOLOX's decoupled, anchor-free head (Ge et al., 2021, section 2.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.dense_heads.selection import Level, flatten_map
from zoo.models.dense_heads.towers import prior_bias
from zoo.models.layers.conv_module import ConvModule, DepthwiseSeparableConv
from zoo.models.layers.csp import SWISH, YOLOX_BN
from zoo.models.layers.nms import suppress
from zoo.models.priors.points import PointGenerator
from zoo.structures import Detections, ImageGeometry


class YOLOXHead(nn.Module):
    """Two towers per level: classes from one, box and objectness from the other."""

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        feat_channels: int = 256,
        stacked_convs: int = 2,
        strides: Sequence[int] = (8, 16, 32),
        use_depthwise: bool = False,
        dcn_on_last_conv: bool = False,
        conv_bias: bool | str = "auto",
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] = YOLOX_BN,
        act_cfg: Mapping[str, Any] = SWISH,
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.use_l1 = False  # set by a trainer for its last epochs, without strong augmentation
        self.train_cfg, self.test_cfg = train_cfg or {}, test_cfg or {}
        self.prior_generator = PointGenerator(strides, offset=0)
        conv = DepthwiseSeparableConv if use_depthwise else ConvModule

        def tower() -> nn.Sequential:
            layers = []
            for i in range(stacked_convs):
                deformable = dcn_on_last_conv and i == stacked_convs - 1
                layers.append(
                    conv(
                        in_channels if i == 0 else feat_channels,
                        feat_channels,
                        3,
                        padding=1,
                        conv_cfg={"type": "DCNv2"} if deformable else conv_cfg,
                        norm_cfg=norm_cfg,
                        act_cfg=act_cfg,
                        bias=conv_bias,
                    )
                )
            return nn.Sequential(*layers)

        self.multi_level_cls_convs = nn.ModuleList(tower() for _ in strides)
        self.multi_level_reg_convs = nn.ModuleList(tower() for _ in strides)
        self.multi_level_conv_cls = nn.ModuleList(nn.Conv2d(feat_channels, num_classes, 1) for _ in strides)
        self.multi_level_conv_reg = nn.ModuleList(nn.Conv2d(feat_channels, 4, 1) for _ in strides)
        self.multi_level_conv_obj = nn.ModuleList(nn.Conv2d(feat_channels, 1, 1) for _ in strides)
        for layer in (*self.multi_level_conv_cls, *self.multi_level_conv_obj):
            nn.init.constant_(layer.bias, prior_bias())  # type: ignore[arg-type]

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Per level (N, C, H, W): class logits (N, num_classes, H, W), boxes (N, 4, H, W), objectness (N, 1, H, W)."""
        logits, boxes, objectness = [], [], []
        for i, x in enumerate(features):
            region = self.multi_level_reg_convs[i](x)
            logits.append(self.multi_level_conv_cls[i](self.multi_level_cls_convs[i](x)))
            boxes.append(self.multi_level_conv_reg[i](region))
            objectness.append(self.multi_level_conv_obj[i](region))
        return logits, boxes, objectness

    def predict(self, outputs: Sequence[Sequence[Tensor]], geometries: Sequence[ImageGeometry]) -> list[Detections]:
        """Detections in input coordinates; each cell stands for its best class only."""
        priors = self.prior_generator.grid_priors([(x.shape[2], x.shape[3]) for x in outputs[0]], outputs[0][0].device)
        return [self.predict_one(self.levels(outputs, i, priors)) for i in range(len(geometries))]

    def levels(self, outputs: Sequence[Sequence[Tensor]], image: int, priors: list[Tensor]) -> list[Level]:
        """One image's predictions, level by level."""
        return [
            Level(
                scores=flatten_map(logits[image], self.num_classes).sigmoid(),
                regression=flatten_map(boxes[image], 4),
                priors=points,
                quality=flatten_map(objectness[image], 1).squeeze(1).sigmoid(),
            )
            for logits, boxes, objectness, points in zip(*outputs, priors)
        ]

    def predict_one(self, levels: list[Level]) -> Detections:
        """One image's detections, not limited in number."""
        scores, labels = torch.cat([level.scores for level in levels]).max(dim=1)
        scores = scores * torch.cat([level.quality for level in levels])  # type: ignore[misc]
        keep = (scores >= self.test_cfg["score_thr"]).nonzero().squeeze(1)  # a mask would be counted four times over
        boxes = decode(torch.cat([x.priors for x in levels])[keep], torch.cat([x.regression for x in levels])[keep])
        return suppress(boxes, scores[keep], labels[keep], self.test_cfg["nms"])


def decode(points: Tensor, boxes: Tensor) -> Tensor:
    """Boxes (K, 4) xyxy from centers in strides and logarithmic sizes (K, 4), at points (K, 4) with their strides."""
    center = boxes[:, :2] * points[:, 2:] + points[:, :2]
    half = boxes[:, 2:].exp() * points[:, 2:] / 2
    return torch.cat([center - half, center + half], dim=1)
