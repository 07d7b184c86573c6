"""Random sampling of a fixed number of regions with a share of positives (Girshick, Fast R-CNN, 2015)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from zoo.models.targets import BACKGROUND, Assignment, GroundTruth, Samples

# Losses (K,) of regions (K, 4) under labels (K,), None for background: what hard example mining ranks by.
Hardness = Callable[[Tensor, Tensor | None], Tensor]


class RandomSampler:
    """`num` regions, at most `pos_fraction` of them positive and at most `neg_pos_ub` negatives per positive.

    add_gt_as_proposals: the objects' own boxes are candidates too.
    """

    def __init__(self, num: int, pos_fraction: float, neg_pos_ub: float = -1, add_gt_as_proposals: bool = True) -> None:
        self.num, self.pos_fraction, self.neg_pos_ub = num, pos_fraction, neg_pos_ub
        self.add_truth = add_gt_as_proposals

    def sample(
        self, assignment: Assignment, boxes: Tensor, ground_truth: GroundTruth, hardness: Hardness | None = None
    ) -> Samples:
        """Choose among candidates (P, 4) that were assigned."""
        index, overlaps = assignment.index, assignment.overlaps
        is_ground_truth = torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
        if self.add_truth and len(ground_truth):
            boxes = torch.cat([ground_truth.boxes, boxes])
            index = torch.cat([torch.arange(len(ground_truth), device=index.device), index])
            overlaps = torch.cat([overlaps.new_ones(len(ground_truth)), overlaps])
            is_ground_truth = torch.cat([is_ground_truth.new_ones(len(ground_truth)), is_ground_truth])
        result, candidates = Assignment(index, overlaps), (index >= 0).nonzero().flatten()
        labels, share = ground_truth.labels[index[candidates]], int(self.num * self.pos_fraction)
        positive = self.positives(candidates, share, result, boxes, labels, hardness).sort().values
        wanted = self.num - len(positive)
        if self.neg_pos_ub >= 0:
            wanted = min(wanted, int(self.neg_pos_ub * max(1, len(positive))))
        background = (index == BACKGROUND).nonzero().flatten()
        negative = self.negatives(background, wanted, result, boxes, hardness).sort().values
        return Samples(boxes, positive, negative, index[positive], is_ground_truth)

    def positives(
        self, candidates: Tensor, count: int, assignment: Assignment, boxes: Tensor, labels: Tensor, hardness: Any
    ) -> Tensor:
        """At most `count` of the positives (K,), which have labels (K,). assignment, boxes: of all candidates (P,)."""
        return self.pick(candidates, count, boxes, labels, hardness)

    def negatives(self, candidates: Tensor, count: int, assignment: Assignment, boxes: Tensor, hardness: Any) -> Tensor:
        """At most `count` of the negatives (K,)."""
        return self.pick(candidates, count, boxes, None, hardness)

    def pick(
        self, candidates: Tensor, count: int, boxes: Tensor, labels: Tensor | None, hardness: Hardness | None
    ) -> Tensor:
        """At most `count` of the candidates, at random."""
        return choose(candidates, count)


class PseudoSampler:
    """Everything that was assigned, positive or background."""

    def sample(
        self, assignment: Assignment, boxes: Tensor, ground_truth: GroundTruth, hardness: Hardness | None = None
    ) -> Samples:
        """All of the candidates (P, 4)."""
        index = assignment.index
        positive, negative = (index >= 0).nonzero().flatten(), (index == BACKGROUND).nonzero().flatten()
        is_ground_truth = torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
        return Samples(boxes, positive, negative, index[positive], is_ground_truth)


def choose(candidates: Tensor, count: int) -> Tensor:
    """At most `count` of the candidates (K,), at random."""
    if len(candidates) <= count:
        return candidates
    return candidates[torch.randperm(len(candidates), device=candidates.device)[:count]]
