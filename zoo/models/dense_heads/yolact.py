"""YOLACT's head (Bolya et al., Real-time Instance Segmentation, 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.box_ops import pairwise_iou
from zoo.models.dense_heads.anchor_head import AnchorHead
from zoo.models.dense_heads.selection import Level, best_rows, flatten_map
from zoo.models.dense_heads.ssd import SOFTMAX
from zoo.models.dense_heads.towers import over_levels, run, tower
from zoo.models.layers.ranking import ranked
from zoo.models.layers.tracing import first
from zoo.structures import Detections, ImageGeometry


class YOLACTHead(AnchorHead):
    """Classes, boxes and mask coefficients of every anchor, from one shared tower.

    num_protos: coefficients per anchor. use_ohem: training keeps the hardest negatives only.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        num_head_convs: int = 1,
        num_protos: int = 32,
        use_ohem: bool = True,
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] | None = None,
        loss_cls: Mapping[str, Any] = SOFTMAX,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, in_channels, loss_cls=loss_cls, **kwargs)
        self.num_protos, self.use_ohem = num_protos, use_ohem
        channels, anchors = self.feat_channels, self.num_base_priors
        self.head_convs = tower(in_channels, channels, num_head_convs, norm_cfg, conv_cfg)
        self.conv_cls = nn.Conv2d(channels, anchors * self.cls_out_channels, 3, padding=1)
        self.conv_reg = nn.Conv2d(channels, anchors * 4, 3, padding=1)
        self.conv_coeff = nn.Conv2d(channels, anchors * num_protos, 3, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], ...]:
        """Per level (N, C, H, W): class logits, deltas and mask coefficients of every anchor.

        Shapes (N, A * C, H, W), (N, A * 4, H, W), (N, A * num_protos, H, W); coefficients are between -1 and 1.
        """
        return over_levels(self.forward_level, features)

    def forward_level(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One level's maps."""
        x = run(self.head_convs, x)
        return self.conv_cls(x), self.conv_reg(x), self.conv_coeff(x).tanh()

    def predict_with_coefficients(
        self, outputs: Sequence[Sequence[Tensor]], geometries: Sequence[ImageGeometry]
    ) -> list[tuple[Detections, Tensor]]:
        """Per image the detections in input coordinates, and their mask coefficients (K, num_protos)."""
        logits, deltas, coefficients = outputs
        detections = []
        for i, geometry in enumerate(geometries):
            rows = [flatten_map(x[i], self.num_protos) for x in coefficients]
            detections.append(self.predict_image(self.levels((logits, deltas), i), rows, geometry))
        return detections

    def predict_image(
        self, levels: Sequence[Level], coefficients: Sequence[Tensor], geometry: ImageGeometry
    ) -> tuple[Detections, Tensor]:
        """One image's detections and coefficients. coefficients: per level (P, num_protos)."""
        cfg, boxes, scores, kept = self.test_cfg, [], [], []
        for level, rows in zip(levels, coefficients):
            keep = best_rows(level.scores, cfg.get("nms_pre", -1))
            boxes.append(self.decode(level.priors[keep], level.regression[keep], size=geometry.size))
            scores.append(level.scores[keep])
            kept.append(rows[keep])
        result, index = fast_nms(
            torch.cat(boxes), torch.cat(scores), cfg["score_thr"], cfg["iou_thr"], cfg["top_k"], cfg["max_per_img"]
        )
        return result, torch.cat(kept)[index]


def fast_nms(
    boxes: Tensor, scores: Tensor, score_thr: float, iou_thr: float, top_k: int, max_num: int = -1
) -> tuple[Detections, Tensor]:
    """Suppression of all classes at once: a box goes if any better one of its class overlaps it, even a suppressed one.

    boxes: (K, 4). scores: (K, C). top_k: so many boxes per class compete. max_num: detections kept, all if negative.
    Returns the detections and which boxes they are, (D,) (section 4.2 of the paper).
    """
    ordered, order = ranked(scores.T)
    ordered, order = first(ordered.T, top_k).T, first(order.T, top_k).T
    candidates = boxes[order]
    overlap = pairwise_iou(candidates, candidates).triu(diagonal=1).amax(dim=1)
    labels, rank = ((overlap <= iou_thr) & (ordered > score_thr)).nonzero(as_tuple=True)
    kept, best = ranked(ordered[labels, rank])
    if max_num > 0:
        kept, best = kept[:max_num], best[:max_num]
    index = order[labels, rank][best]
    return Detections(boxes[index], kept, labels[best]), index
