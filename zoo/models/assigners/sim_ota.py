"""Simplified optimal transport assignment (Ge et al., YOLOX, 2021, section 2.1)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.models.box_ops import pairwise_iou
from zoo.models.targets import BACKGROUND, Assignment, GroundTruth

FAR = 1e5


class SimOTAAssigner:
    """Each object takes the cheapest of the predictions near it, as many as its best overlaps sum up to.

    center_radius: in strides. candidate_topk: how many overlaps are summed. iou_weight, cls_weight: of the cost.
    """

    def __init__(
        self, center_radius: float = 2.5, candidate_topk: int = 10, iou_weight: float = 3.0, cls_weight: float = 1.0
    ) -> None:
        self.radius, self.topk, self.iou_weight, self.cls_weight = center_radius, candidate_topk, iou_weight, cls_weight

    def assign(self, scores: Tensor, points: Tensor, boxes: Tensor, ground_truth: GroundTruth) -> Assignment:
        """Match predictions with the objects of an image.

        scores: (P, C) probabilities. points: (P, 4), x, y and strides. boxes: (P, 4) xyxy.
        """
        in_box, in_center = self.near(points, ground_truth)
        candidates = (in_box | in_center).any(dim=1).nonzero().flatten()
        if len(ground_truth) == 0 or len(candidates) == 0:
            return unassigned(boxes)
        iou = pairwise_iou(boxes[candidates], ground_truth.boxes)
        cost = self.cost(scores[candidates], iou, ground_truth) + FAR * ~(in_box & in_center)[candidates]
        return assignment(choose(cost, iou, self.topk), iou, candidates, len(boxes))

    def near(self, points: Tensor, ground_truth: GroundTruth) -> tuple[Tensor, Tensor]:
        """Whether points lie in the boxes, and whether near their centers, both (P, M)."""
        xy, reach = points[:, None, :2], points[:, None, 2:] * self.radius
        center = (ground_truth.boxes[:, :2] + ground_truth.boxes[:, 2:]) / 2
        in_box = torch.cat([xy - ground_truth.boxes[:, :2], ground_truth.boxes[:, 2:] - xy], dim=-1).amin(dim=-1) > 0
        in_center = torch.cat([xy - (center - reach), center + reach - xy], dim=-1).amin(dim=-1) > 0
        return in_box, in_center

    def cost(self, scores: Tensor, iou: Tensor, ground_truth: GroundTruth) -> Tensor:
        """Cost (K, M) of each prediction for each object, apart from where it lies."""
        wanted = F.one_hot(ground_truth.labels, scores.shape[1]).to(scores)
        shape = (len(scores), *wanted.shape)
        roots = scores.sqrt()[:, None].expand(shape)
        entropy = F.binary_cross_entropy(roots, wanted[None].expand(shape), reduction="none").sum(-1)
        return entropy * self.cls_weight - (iou + 1e-7).log() * self.iou_weight


def choose(cost: Tensor, iou: Tensor, candidates: int) -> Tensor:
    """Which pairs (K, M) are taken: each object takes as many as its `candidates` best overlaps sum up to.

    A prediction that several objects want goes to the cheapest.
    """
    chosen = torch.zeros_like(cost, dtype=torch.bool)
    counts = iou.topk(min(candidates, len(iou)), dim=0).values.sum(dim=0).int().clamp(min=1).tolist()
    for i, count in enumerate(counts):
        chosen[cost[:, i].topk(count, largest=False).indices, i] = True
    contested = chosen.sum(dim=1, keepdim=True) > 1
    return torch.where(contested, F.one_hot(cost.argmin(dim=1), cost.shape[1]).bool(), chosen)


def assignment(chosen: Tensor, iou: Tensor, candidates: Tensor, count: int) -> Assignment:
    """The assignment of `count` predictions, of which `candidates` (K,) were compared with the objects (K, M)."""
    index = torch.full((count,), BACKGROUND, device=iou.device)
    taken = torch.where(chosen.any(dim=1), chosen.int().argmax(dim=1), BACKGROUND)
    overlaps = iou.new_zeros(count).index_put((candidates,), (chosen * iou).sum(dim=1))
    return Assignment(index.index_put((candidates,), taken), overlaps)


def unassigned(boxes: Tensor) -> Assignment:
    """Of predictions (P, 4) that all stand for the background."""
    return Assignment(torch.full((len(boxes),), BACKGROUND, device=boxes.device), boxes.new_zeros(len(boxes)))
