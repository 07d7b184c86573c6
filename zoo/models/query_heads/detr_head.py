"""DETR's head: a set of boxes from a transformer, without anchors and without suppression (Carion et al., 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.box_ops import box_convert
from zoo.models.build import component
from zoo.models.coders.delta import clip
from zoo.models.dense_heads.anchor_head import uses_sigmoid
from zoo.models.layers.tracing import at_most
from zoo.models.transformer.feedforward import FFN
from zoo.models.transformer.padding import padding_at
from zoo.structures import Detections, ImageGeometry

SINE = {"type": "SinePositionalEncoding", "num_feats": 128, "normalize": True}
SOFTMAX = {"type": "CrossEntropyLoss", "bg_cls_weight": 0.1, "class_weight": 1.0, "loss_weight": 1.0}


class QueryPredictor(nn.Module):
    """Base of heads that predict one class and one box per query.

    num_reg_fcs: hidden layers of the box branch. `loss_cls` decides between sigmoid scores and a softmax whose last
    class is "no object".
    """

    def __init__(
        self,
        num_classes: int,
        embed_dims: int = 256,
        num_reg_fcs: int = 2,
        sync_cls_avg_factor: bool = False,
        loss_cls: Mapping[str, Any] = SOFTMAX,
        loss_bbox: Mapping[str, Any] | None = None,
        loss_iou: Mapping[str, Any] | None = None,
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.num_classes, self.embed_dims, self.num_reg_fcs = num_classes, embed_dims, num_reg_fcs
        self.sync_cls_avg_factor = sync_cls_avg_factor
        self.use_sigmoid = uses_sigmoid(loss_cls)
        self.cls_out_channels = num_classes if self.use_sigmoid else num_classes + 1
        self.loss_cfg = {"cls": loss_cls, "bbox": loss_bbox, "iou": loss_iou}
        self.train_cfg, self.test_cfg = train_cfg or {}, test_cfg or {}

    def predict(self, outputs: Sequence[Any], geometries: Sequence[ImageGeometry]) -> list[Detections]:
        """Detections in input coordinates, from the last decoder layer. outputs: what `forward` returned."""
        logits, boxes = outputs[0][-1], outputs[1][-1]
        return [self.predict_one(x, b, geometry) for x, b, geometry in zip(logits, boxes, geometries)]

    def predict_one(self, logits: Tensor, boxes: Tensor, geometry: ImageGeometry) -> Detections:
        """One image's best `max_per_img` queries. logits: (Q, C). boxes: (Q, 4) cxcywh as shares of the image."""
        limit = self.test_cfg.get("max_per_img", logits.shape[0])
        if self.use_sigmoid:
            scores, order = logits.sigmoid().flatten().topk(at_most(limit, logits.numel()))
            labels, index = order % self.num_classes, order // self.num_classes
        else:
            best, classes = logits.softmax(-1)[:, :-1].max(-1)
            scores, index = best.topk(at_most(limit, logits.shape[0]))
            labels = classes[index]
        height, width = geometry.size
        x1, y1, x2, y2 = box_convert(boxes[index], "cxcywh", "xyxy").unbind(-1)
        result = torch.stack([x1 * width, y1 * height, x2 * width, y2 * height], dim=-1)
        return Detections(clip(result, geometry.size), scores, labels)


class QueryHead(QueryPredictor):
    """Base of heads that hold a transformer. num_query: how many objects at most."""

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        transformer: Mapping[str, Any],
        num_query: int = 100,
        positional_encoding: Mapping[str, Any] = SINE,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, **kwargs)
        self.in_channels, self.num_query = in_channels, num_query
        self.positional_encoding = component(positional_encoding)
        self.transformer = component(transformer)
        self.embed_dims = self.transformer.embed_dims


class DETRHead(QueryHead):
    """A transformer over the coarsest feature map, and two branches on its queries."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        channels = self.embed_dims
        self.input_proj = nn.Conv2d(self.in_channels, channels, 1)
        self.fc_cls = nn.Linear(channels, self.cls_out_channels)
        self.reg_ffn = FFN(channels, channels, self.num_reg_fcs, add_identity=False)
        self.fc_reg = nn.Linear(channels, 4)
        self.query_embedding = nn.Embedding(self.num_query, channels)

    def forward(self, features: Sequence[Tensor], padding: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits (layers, N, Q, C) and boxes (layers, N, Q, 4), cxcywh as shares of the unpadded image.

        features: (N, C, H, W) maps, of which the last is used. padding: (N, H, W) bool at input resolution.
        """
        x = self.input_proj(features[-1])
        mask = padding_at(padding, x)
        states = self.transformer(x, mask, self.query_embedding.weight, self.positional_encoding(mask))
        return self.fc_cls(states), self.fc_reg(F.relu(self.reg_ffn(states))).sigmoid()
