"""Assignment by how well a prediction does in both tasks (Feng et al., TOOD, 2021, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.models.assigners.atss import inside
from zoo.models.box_ops import pairwise_iou
from zoo.models.targets import BACKGROUND, Assignment, GroundTruth


class TaskAlignedAssigner:
    """Of the `topk` predictions with the best score and overlap, those whose anchor's center is in the object."""

    def __init__(self, topk: int) -> None:
        self.topk = topk

    @torch.no_grad()
    def assign(
        self, scores: Tensor, predicted: Tensor, anchors: Tensor, ground_truth: GroundTruth, alpha: float, beta: float
    ) -> tuple[Assignment, Tensor]:
        """Match predictions with the objects of an image; also how well each is aligned with its own, (P,).

        scores: (P, C) probabilities. predicted, anchors: (P, 4). alpha, beta: powers of score and overlap.
        """
        index = torch.full((len(anchors),), BACKGROUND, device=anchors.device)
        if len(ground_truth) == 0 or len(anchors) == 0:
            return Assignment(index, anchors.new_zeros(len(anchors))), anchors.new_zeros(len(anchors))
        overlaps = pairwise_iou(predicted, ground_truth.boxes)
        alignment = scores[:, ground_truth.labels] ** alpha * overlaps**beta
        best, candidates = alignment.topk(min(self.topk, len(anchors)), dim=0)
        good = (best > 0) & inside(anchors, candidates, ground_truth)
        chosen = torch.zeros_like(overlaps, dtype=torch.bool).scatter_(0, candidates, good)
        overlap, owner = torch.where(chosen, overlaps, -torch.inf).max(dim=1)
        positive = chosen.any(dim=1)
        index = torch.where(positive, owner, index)
        own = alignment.gather(1, owner[:, None])[:, 0]
        return Assignment(index, overlap), torch.where(positive, own, 0)
