"""Dynamic soft label assignment (Lyu et al., RTMDet, 2022, section 3.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from zoo.models.assigners.sim_ota import assignment, choose, unassigned
from zoo.models.box_ops import pairwise_iou
from zoo.models.targets import Assignment, GroundTruth


class DynamicSoftLabelAssigner:
    """Each object takes the cheapest of the predictions in any box, as many as its best overlaps sum up to.

    The cost is a focal loss against the overlap, -log of the overlap, and the distance from the object's center.
    soft_center_radius: distance in strides from which on the latter grows tenfold with every stride. topk: how many
    overlaps are summed. iou_weight: of the cost.
    """

    def __init__(
        self,
        soft_center_radius: float = 3.0,
        topk: int = 13,
        iou_weight: float = 3.0,
        iou_calculator: Mapping[str, Any] | None = None,
    ) -> None:
        self.radius, self.topk, self.iou_weight = soft_center_radius, topk, iou_weight

    def assign(self, logits: Tensor, points: Tensor, boxes: Tensor, ground_truth: GroundTruth) -> Assignment:
        """Match predictions with the objects of an image.

        logits: (P, C). points: (P, 4), x, y and strides. boxes: (P, 4) xyxy.
        """
        if len(ground_truth) == 0:
            return unassigned(boxes)
        candidates = in_any_box(points, ground_truth.boxes).nonzero().flatten()
        if len(candidates) == 0:
            return unassigned(boxes)
        iou = pairwise_iou(boxes[candidates], ground_truth.boxes)
        cost = self.class_cost(logits[candidates], iou, ground_truth.labels) - (iou + 1e-7).log() * self.iou_weight
        cost = cost + self.center_cost(points[candidates], ground_truth.boxes)
        return assignment(choose(cost, iou, self.topk), iou, candidates, len(boxes))

    def class_cost(self, logits: Tensor, iou: Tensor, labels: Tensor) -> Tensor:
        """Focal loss (K, M) of logits (K, C) against the overlap (K, M) as the soft label of an object's class."""
        wanted = F.one_hot(labels, logits.shape[1])[None] * iou[..., None]
        logits = logits[:, None].expand_as(wanted)
        entropy = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
        return (entropy * (wanted - logits.sigmoid()).square()).sum(dim=-1)

    def center_cost(self, points: Tensor, boxes: Tensor) -> Tensor:
        """10 to the distance (K, M) in strides between points (K, 4) and centers of boxes (M, 4), less the radius."""
        centers = (boxes[:, :2] + boxes[:, 2:]) / 2
        distance = (points[:, None, :2] - centers).square().sum(dim=-1).sqrt() / points[:, 2:3]
        return 10 ** (distance - self.radius)


def in_any_box(points: Tensor, boxes: Tensor) -> Tensor:
    """Whether points (P, 2 or more: x, y) lie inside at least one of boxes (M, 4), (P,)."""
    xy = points[:, None, :2]
    inside = (xy > boxes[:, :2]) & (xy < boxes[:, 2:])
    return inside.all(dim=-1).any(dim=1)
