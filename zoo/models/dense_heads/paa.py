"""PAA's head (Kim and Lee, Probabilistic Anchor Assignment with IoU Prediction, 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from zoo.models.box_ops import pairwise_iou
from zoo.models.dense_heads.atss import ATSSHead
from zoo.models.dense_heads.selection import Level, best_rows, joint
from zoo.models.layers.nms import multiclass_nms
from zoo.models.layers.tracing import recording
from zoo.structures import Detections, ImageGeometry


class PAAHead(ATSSHead):
    """ATSS's layers; the third output is the expected IoU, and detections are voted on by their neighbors.

    topk: anchors per object and level that the mixture is fitted to. score_voting: section 3.3. covariance_type: of the
    fitted mixture.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        topk: int = 9,
        score_voting: bool = True,
        covariance_type: str = "diag",
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        self.topk, self.score_voting, self.covariance_type = topk, score_voting, covariance_type

    def predict_one(self, levels: list[Level], geometry: ImageGeometry) -> Detections:
        """One image's detections; a score is the geometric mean of class score and expected IoU."""
        boxes, scores = self.candidates(levels, geometry)
        cfg = self.test_cfg
        detections = multiclass_nms(boxes, scores, cfg["score_thr"], cfg["nms"], cfg["max_per_img"])
        if self.score_voting and (recording() or len(detections)):
            detections = vote(detections, boxes, scores, cfg["score_thr"])
        return detections

    def candidates(self, levels: Sequence[Level], geometry: ImageGeometry) -> tuple[Tensor, Tensor]:
        """The best `nms_pre` anchors of each level: boxes (K, 4) and scores (K, C)."""
        boxes, scores = [], []
        for level in levels:
            both = joint(level)
            keep = best_rows(both, self.test_cfg.get("nms_pre", -1))
            boxes.append(self.decode(level.priors[keep], level.regression[keep], size=geometry.size))
            scores.append(both[keep])
        return torch.cat(boxes), torch.cat(scores)


class LADHead(PAAHead):
    """PAA whose training takes the assignment from a teacher (Nguyen et al., Label Assignment Distillation, 2022)."""

    shares_classes = True  # the teacher's scores of the same classes decide


def vote(detections: Detections, boxes: Tensor, scores: Tensor, score_thr: float) -> Detections:
    """Each detection's box becomes the weighted mean of the candidates of its class around it (section 3.3).

    boxes: (K, 4) candidates. scores: (K, C). A candidate weighs exp(-(1 - IoU)^2 / 0.025) times its score; those with
    an IoU of 0.01 or less do not count.
    """
    index, labels = (scores > score_thr).nonzero(as_tuple=True)
    iou = pairwise_iou(detections.boxes, boxes[index])
    weights = (-((1 - iou) ** 2) / 0.025).exp() * scores[index, labels]
    weights = weights * ((iou > 0.01) & (detections.labels[:, None] == labels))
    total = weights.sum(dim=1, keepdim=True)
    voted = torch.where(total > 0, weights @ boxes[index] / total, detections.boxes)
    return Detections(voted, detections.scores, detections.labels)
