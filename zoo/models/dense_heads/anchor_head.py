"""What the heads with anchors share: priors, levels and detections from score and delta maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor, nn

from zoo.models.build import component
from zoo.models.coders.delta import clip
from zoo.models.dense_heads.selection import Level, class_scores, detect, flatten_map
from zoo.structures import Detections, ImageGeometry

SIGMOID = {"type": "CrossEntropyLoss", "use_sigmoid": True}
SIGMOID_LOSSES = ("FocalLoss", "QualityFocalLoss", "GHMC", "VarifocalLoss")


class AnchorHead(nn.Module):
    """Base of heads that classify and regress priors: anchors, or points (a generator of either kind).

    `loss_cls` decides between independent sigmoid scores and a softmax with a background class. A subclass makes its
    layers and returns per level class logits (N, A * C, H, W) and regression maps (N, A * D, H, W) in the box coder's
    encoding, optionally quality logits (N, A, H, W).
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        feat_channels: int = 256,
        anchor_generator: Mapping[str, Any] | None = None,
        bbox_coder: Mapping[str, Any] | None = None,
        loss_cls: Mapping[str, Any] = SIGMOID,
        loss_bbox: Mapping[str, Any] | None = None,
        reg_decoded_bbox: bool = False,
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.num_classes, self.in_channels, self.feat_channels = num_classes, in_channels, feat_channels
        self.loss_cfg = {"cls": loss_cls, "bbox": loss_bbox}
        self.reg_decoded_bbox = reg_decoded_bbox
        self.use_sigmoid = uses_sigmoid(loss_cls)
        self.cls_out_channels = num_classes if self.use_sigmoid else num_classes + 1
        self.prior_generator: Any = component(anchor_generator) if anchor_generator else None
        self.bbox_coder = component(bbox_coder or {"type": "DeltaXYWHBBoxCoder"})
        self.num_base_priors = self.prior_generator.num_base_priors[0] if self.prior_generator else 1
        self.train_cfg, self.test_cfg = train_cfg or {}, test_cfg or {}

    def predict(self, outputs: Sequence[Sequence[Tensor]], geometries: Sequence[ImageGeometry]) -> list[Detections]:
        """Detections in input coordinates. outputs: what `forward` returned. geometries: one per image."""
        return [self.predict_one(self.levels(outputs, i), geometry) for i, geometry in enumerate(geometries)]

    def priors(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Anchors (P, 4) of each level. maps: any maps (N, ..., H, W) of these levels."""
        return self.prior_generator.grid_priors([(x.shape[-2], x.shape[-1]) for x in maps], maps[0].device)

    def predict_one(self, levels: list[Level], geometry: ImageGeometry) -> Detections:
        """One image's detections. Detectron2 clips boxes after NMS, which does not see the same overlaps then."""
        late = self.test_cfg.get("clip_after_nms", False)
        decode = self.bbox_coder.decode if late else partial(self.decode, size=geometry.size)
        detections = detect(levels, decode, self.test_cfg)
        return inside(detections, geometry.size) if late else detections

    def decode(self, priors: Tensor, regression: Tensor, size: tuple[int, int]) -> Tensor:
        """Boxes (K, 4) xyxy from priors (K, 4) and their regression (K, D). size: (h, w) to clip to."""
        return self.bbox_coder.decode(priors, regression, size=size)

    def activate(self, logits: Tensor) -> Tensor:
        """Scores (P, C) of the foreground classes from class logits (P, C, or C + 1 for a softmax)."""
        return class_scores(logits, self.use_sigmoid)

    def levels(self, outputs: Sequence[Sequence[Tensor]], image: int) -> list[Level]:
        """One image's predictions, level by level."""
        logits, regressions, *quality = outputs
        priors, per_cell = self.priors(logits), self.prior_generator.num_base_priors
        return [
            Level(
                scores=self.activate(flatten_map(logits[i][image], self.cls_out_channels)),
                regression=flatten_map(regressions[i][image], regressions[i].shape[1] // per_cell[i]),
                priors=priors[i],
                quality=flatten_map(quality[0][i][image], 1).squeeze(1).sigmoid() if quality else None,
            )
            for i in range(len(logits))
        ]


def inside(detections: Detections, size: tuple[int, int]) -> Detections:
    """What of the boxes lies in an image of (h, w); detections of which nothing does are left out."""
    boxes = clip(detections.boxes, size)
    return replace(detections, boxes=boxes)[(boxes[:, 2:] > boxes[:, :2]).all(dim=1)]


def uses_sigmoid(loss_cls: Mapping[str, Any] | None) -> bool:
    """Whether a classification loss means one sigmoid per class rather than a softmax with a background class."""
    if loss_cls is None:
        return False
    return bool(loss_cls.get("use_sigmoid", loss_cls.get("type") in SIGMOID_LOSSES))
