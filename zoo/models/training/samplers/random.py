"""Random sampling of a fixed number of regions with a share of positives (Girshick, Fast R-CNN, 2015)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from zoo.models.training.targets import BACKGROUND, Assignment, Samples, Truth

# Losses (K,) of regions (K, 4) under labels (K,), None for background: what hard example mining ranks by.
Hardness = Callable[[Tensor, Tensor | None], Tensor]


class RandomSampler:
    """`num` regions, at most `pos_fraction` of them positive and at most `neg_pos_ub` negatives per positive.

    add_gt_as_proposals: the objects' own boxes are candidates too.
    """

    def __init__(self, num: int, pos_fraction: float, neg_pos_ub: float = -1, add_gt_as_proposals: bool = True) -> None:
        self.num, self.pos_fraction, self.neg_pos_ub = num, pos_fraction, neg_pos_ub
        self.add_truth = add_gt_as_proposals

    def sample(self, assignment: Assignment, boxes: Tensor, truth: Truth, hardness: Hardness | None = None) -> Samples:
        """Choose among candidates (P, 4) that were assigned."""
        index, is_truth = assignment.index, torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
        if self.add_truth and len(truth):
            boxes = torch.cat([truth.boxes, boxes])
            index = torch.cat([torch.arange(len(truth), device=index.device), index])
            is_truth = torch.cat([is_truth.new_ones(len(truth)), is_truth])
        candidates = (index >= 0).nonzero().flatten()
        labels = truth.labels[index[candidates]]
        positive = self.pick(candidates, int(self.num * self.pos_fraction), boxes, labels, hardness).sort().values
        wanted = self.num - len(positive)
        if self.neg_pos_ub >= 0:
            wanted = min(wanted, int(self.neg_pos_ub * max(1, len(positive))))
        background = (index == BACKGROUND).nonzero().flatten()
        negative = self.pick(background, wanted, boxes, None, hardness).sort().values
        return Samples(boxes, positive, negative, index[positive], is_truth)

    def pick(
        self, candidates: Tensor, count: int, boxes: Tensor, labels: Tensor | None, hardness: Hardness | None
    ) -> Tensor:
        """At most `count` of the candidates, at random."""
        if len(candidates) <= count:
            return candidates
        return candidates[torch.randperm(len(candidates), device=candidates.device)[:count]]


class PseudoSampler:
    """Everything that was assigned, positive or background."""

    def sample(self, assignment: Assignment, boxes: Tensor, truth: Truth, hardness: Hardness | None = None) -> Samples:
        """All of the candidates (P, 4)."""
        index = assignment.index
        positive, negative = (index >= 0).nonzero().flatten(), (index == BACKGROUND).nonzero().flatten()
        is_truth = torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
        return Samples(boxes, positive, negative, index[positive], is_truth)
