"""Classification and box regression of regions (Girshick, Fast R-CNN, 2015)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.build import component
from zoo.models.coders.delta import clip
from zoo.models.layers.linear import make_linear
from zoo.models.layers.nms import suppress
from zoo.models.roi_heads.protocols import ByClass
from zoo.structures import Detections, ImageGeometry

CODER = {"type": "DeltaXYWHBBoxCoder", "target_stds": [0.1, 0.1, 0.2, 0.2]}


def delta_index(head: ByClass, labels: Tensor) -> Tensor:
    """Which of a head's boxes belongs to each label (M,): that of its class, or the only one for all classes."""
    return torch.zeros_like(labels) if head.reg_class_agnostic else labels


class RegionHead(nn.Module):
    """Base of the box heads: two predictors, and detections from what they predict.

    The last class logit is the background. reg_class_agnostic: one box per region instead of one per class.
    with_cls, with_reg: which predictors there are.
    """

    def __init__(
        self,
        num_classes: int = 80,
        with_cls: bool = True,
        with_reg: bool = True,
        bbox_coder: Mapping[str, Any] = CODER,
        reg_class_agnostic: bool = False,
        reg_decoded_bbox: bool = False,
        cls_predictor_cfg: Mapping[str, Any] | None = None,
        reg_predictor_cfg: Mapping[str, Any] | None = None,
        loss_cls: Mapping[str, Any] | None = None,
        loss_bbox: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.num_classes, self.with_cls, self.with_reg = num_classes, with_cls, with_reg
        self.reg_class_agnostic, self.reg_decoded_bbox = reg_class_agnostic, reg_decoded_bbox
        self.predictor_cfg = {"cls": cls_predictor_cfg, "reg": reg_predictor_cfg}
        self.loss_cfg: dict[str, Mapping[str, Any] | None] = {
            "cls": loss_cls or {"type": "CrossEntropyLoss"},
            "bbox": loss_bbox or {"type": "SmoothL1Loss"},
        }
        self.bbox_coder = component(bbox_coder)
        # Seesaw loss learns "is it an object" apart from the class, as two more logits instead of a background class.
        self.with_objectness = (loss_cls or {}).get("type") == "SeesawLoss"

    def add_predictors(self, cls_channels: int, reg_channels: int) -> None:
        """Make `fc_cls` and `fc_reg` for inputs of so many channels."""
        boxes = 1 if self.reg_class_agnostic else self.num_classes
        cls, reg = self.predictor_cfg["cls"], self.predictor_cfg["reg"]
        num_logits = self.num_classes + (2 if self.with_objectness else 1)
        self.fc_cls = make_linear(cls, cls_channels, num_logits) if self.with_cls else None
        self.fc_reg = make_linear(reg, reg_channels, 4 * boxes) if self.with_reg else None
        for layer, std in ((self.fc_cls, 0.01), (self.fc_reg, 0.001)):
            if layer is not None:
                nn.init.normal_(layer.weight, std=std)

    def run_predictors(self, x_cls: Tensor, x_reg: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Class logits (M, num_classes + 1) and deltas (M, 4 or 4 * num_classes); None for a missing predictor."""
        return (
            self.fc_cls(x_cls) if self.fc_cls is not None else None,
            self.fc_reg(x_reg) if self.fc_reg is not None else None,
        )

    def scores(self, logits: Tensor) -> Tensor:
        """Class logits (M, num_classes + 1 or 2) to scores (M, num_classes + 1), the background last."""
        if not self.with_objectness:
            return logits.softmax(-1)
        is_object, background = logits[:, -2:].softmax(-1).split(1, dim=1)
        return torch.cat([logits[:, :-2].softmax(-1) * is_object, background], dim=1)

    def boxes(self, regions: Tensor, deltas: Tensor | None, geometry: ImageGeometry) -> Tensor:
        """Boxes (M, 4 or 4 * num_classes) from regions (M, 4) xyxy; the clipped regions without deltas."""
        if deltas is None:
            return clip(regions, geometry.size)
        return self.bbox_coder.decode(regions, deltas, size=geometry.size)

    def predict(
        self, regions: Tensor, logits: Tensor, deltas: Tensor | None, geometry: ImageGeometry, cfg: Mapping[str, Any]
    ) -> Detections:
        """One image's detections, in input coordinates. cfg: `score_thr`, `nms`, `max_per_img`.

        Of the boxes of all classes only those are decoded whose score is above the threshold.
        """
        scores = self.scores(logits)[:, :-1]
        index, labels = (scores > cfg["score_thr"]).nonzero(as_tuple=True)
        if deltas is not None:
            deltas = deltas.view(-1, deltas.shape[1] // 4, 4)[index, delta_index(self, labels)]
        boxes = self.boxes(regions[index], deltas, geometry)
        return suppress(boxes, scores[index, labels], labels, cfg["nms"], cfg["max_per_img"])

    def refine(
        self, regions: Tensor, logits: Tensor, deltas: Tensor, geometry: ImageGeometry, labels: Tensor | None = None
    ) -> Tensor:
        """The regions (M, 4) of a cascade's next stage: each moved by the deltas of its best foreground class.

        labels: (M,), in training the class of an object's region; background regions still follow their best class.
        """
        if not self.reg_class_agnostic:
            best = self.scores(logits)[:, :-1].argmax(dim=1)
            if labels is not None:
                best = torch.where(labels == self.num_classes, best, labels)
            deltas = deltas.view(-1, deltas.shape[1] // 4, 4).gather(1, best.view(-1, 1, 1).expand(-1, 1, 4)).squeeze(1)
        return self.bbox_coder.decode(regions, deltas, size=geometry.size)


class BBoxHead(RegionHead):
    """The two predictors directly on pooled or flattened region features."""

    def __init__(
        self, in_channels: int = 256, roi_feat_size: int = 7, with_avg_pool: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.avg_pool = nn.AvgPool2d(roi_feat_size) if with_avg_pool else None
        channels = in_channels if with_avg_pool else in_channels * roi_feat_size**2
        self.add_predictors(channels, channels)

    def forward(self, x: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Region features (M, C, h, w) to class logits (M, num_classes + 1) and deltas (M, 4 or 4 * num_classes)."""
        x = (self.avg_pool(x) if self.avg_pool is not None else x).flatten(1)
        return self.run_predictors(x, x)
