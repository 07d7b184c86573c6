"""YOLOv3's head (Redmon and Farhadi, 2018)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.build import component
from zoo.models.dense_heads.selection import flatten_map
from zoo.models.dense_heads.towers import init_dense, prior_bias
from zoo.models.layers.conv_module import ConvModule
from zoo.models.layers.nms import multiclass_nms
from zoo.models.necks.yolo_neck import BN, LEAKY
from zoo.structures import Detections, ImageGeometry

# Box and objectness in front of the classes.
BOX, CLASSES = 4, 5


class YOLOV3Head(nn.Module):
    """Per level and anchor a box, its objectness and its classes, all from one convolution.

    in_channels, out_channels: of each level, coarsest first, before and after the 3x3 convolution. featmap_strides:
    pixels per cell. one_hot_smoother: of the class targets.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int],
        anchor_generator: Mapping[str, Any],
        bbox_coder: Mapping[str, Any],
        out_channels: Sequence[int] = (1024, 512, 256),
        featmap_strides: Sequence[int] = (32, 16, 8),
        one_hot_smoother: float = 0.0,
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] = BN,
        act_cfg: Mapping[str, Any] = LEAKY,
        loss_cls: Mapping[str, Any] | None = None,
        loss_conf: Mapping[str, Any] | None = None,
        loss_xy: Mapping[str, Any] | None = None,
        loss_wh: Mapping[str, Any] | None = None,
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.num_classes, self.strides = num_classes, tuple(featmap_strides)
        self.one_hot_smoother = one_hot_smoother
        self.loss_cfg = {"cls": loss_cls, "conf": loss_conf, "xy": loss_xy, "wh": loss_wh}
        self.train_cfg, self.test_cfg = train_cfg or {}, test_cfg or {}
        self.prior_generator, self.bbox_coder = component(anchor_generator), component(bbox_coder)
        self.num_base_priors = self.prior_generator.num_base_priors[0]
        options: dict[str, Any] = {"conv_cfg": conv_cfg, "norm_cfg": norm_cfg, "act_cfg": act_cfg}
        self.convs_bridge = nn.ModuleList(
            ConvModule(before, after, 3, padding=1, **options) for before, after in zip(in_channels, out_channels)
        )
        outputs = self.num_base_priors * (CLASSES + num_classes)
        self.convs_pred = nn.ModuleList(nn.Conv2d(channels, outputs, 1) for channels in out_channels)
        self.init_weights()

    def init_weights(self) -> None:
        """Small weights; about eight objects are expected in an image of 608 pixels."""
        init_dense(self)
        for conv, stride in zip(self.convs_pred, self.strides):
            bias = conv.bias.data.view(self.num_base_priors, -1)  # type: ignore[union-attr, operator]
            bias[:, BOX] = prior_bias(8 / (608 / stride) ** 2)
            bias[:, CLASSES:] = prior_bias()

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor]]:
        """Maps, coarsest first, to (N, A * (5 + C), H, W) per level: per anchor box, objectness and class logits."""
        return ([pred(bridge(x)) for pred, bridge, x in zip(self.convs_pred, self.convs_bridge, features)],)

    def predict(self, outputs: Sequence[Sequence[Tensor]], geometries: Sequence[ImageGeometry]) -> list[Detections]:
        """Detections in input coordinates; boxes may reach beyond the image."""
        (maps,) = outputs
        sizes = [(x.shape[2], x.shape[3]) for x in maps]
        priors = self.prior_generator.grid_priors(sizes, maps[0].device)
        strides = torch.cat([torch.full_like(x[:, :1], stride) for x, stride in zip(priors, self.strides)])
        rows = CLASSES + self.num_classes
        images = [torch.cat([flatten_map(x[i], rows) for x in maps]) for i in range(len(geometries))]
        return [self.predict_one(predictions, torch.cat(priors), strides) for predictions in images]

    def predict_one(self, predictions: Tensor, priors: Tensor, strides: Tensor) -> Detections:
        """One image's detections. predictions: (P, 5 + C). priors: (P, 4) xyxy. strides: (P, 1)."""
        cfg = self.test_cfg
        objectness = predictions[:, BOX].sigmoid()
        keep = (objectness >= cfg.get("conf_thr", -1)).nonzero().squeeze(1)
        predictions, objectness = predictions[keep], objectness[keep]
        regression = torch.cat([predictions[:, :2].sigmoid(), predictions[:, 2:BOX]], dim=1)
        boxes = self.bbox_coder.decode(priors[keep], regression, strides[keep])
        scores = predictions[:, CLASSES:].sigmoid()
        return multiclass_nms(boxes, scores, cfg["score_thr"], cfg["nms"], cfg["max_per_img"], objectness)
