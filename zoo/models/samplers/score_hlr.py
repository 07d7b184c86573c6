"""Negatives ranked by how high they score, group by group (Cao et al., Prime Sample Attention, 2019, section 4.1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zoo.models.box_ops import pairwise_iou
from zoo.models.layers.transfer import on_host
from zoo.models.samplers.random import RandomSampler
from zoo.models.targets import Assignment


@dataclass
class Scored:
    """What the box head says of regions: scores (K, C) of the classes, boxes (K, 4), and losses (K,) as background."""

    scores: Tensor
    boxes: Tensor
    losses: Tensor


class ScoreHLRSampler(RandomSampler):
    """The negatives that matter most, and what they weigh.

    k: power, bias: least of the weights before they are scaled so that the sum of the losses stays. score_thr:
    negatives of lower scores do not matter. iou_thr: boxes that overlap more are of one group.
    """

    def __init__(
        self,
        num: int,
        pos_fraction: float,
        k: float = 0.5,
        bias: float = 0,
        score_thr: float = 0.05,
        iou_thr: float = 0.5,
        **kwargs: Any,
    ) -> None:
        super().__init__(num, pos_fraction, **kwargs)
        self.power, self.bias, self.score_thr, self.iou_thr = k, bias, score_thr, iou_thr
        # Regions (K, 4) -> what the box head says of them; the head sets it for each image.
        self.ask: Callable[[Tensor], Scored] | None = None
        self.weights: Tensor | None = None

    @torch.no_grad()
    def negatives(self, candidates: Tensor, count: int, assignment: Assignment, boxes: Tensor, hardness: Any) -> Tensor:
        """At most `count` of the negatives; sets `weights` (K,) of the chosen ones, in the order of their indices."""
        self.weights = None
        if self.ask is None or len(candidates) == 0:
            return super().negatives(candidates, count, assignment, boxes, hardness)
        result, count = self.ask(boxes[candidates]), min(count, len(candidates))
        best = result.scores.max(dim=1).values
        valid = (best > self.score_thr).nonzero().flatten()
        if len(valid) == 0:
            return super().negatives(candidates, count, assignment, boxes, hardness)
        position = ranks(result.boxes[valid], best[valid], self.iou_thr)
        order = position.sort().indices[:count]
        others = (best <= self.score_thr).nonzero().flatten()
        extra = others[torch.randperm(len(others), device=others.device)[: count - len(order)]]
        chosen = torch.cat([valid[order], extra])
        share = 1 - position[order].to(best) / max(count, len(valid))
        share = torch.cat([share, share.min().expand(len(extra))])
        share = (self.bias + (1 - self.bias) * share) ** self.power
        losses = result.losses[chosen]
        share = share * losses.sum() / (losses * share).sum()
        self.weights = share[candidates[chosen].sort().indices]
        return candidates[chosen]


def ranks(boxes: Tensor, scores: Tensor, iou_thr: float) -> Tensor:
    """Ranks (K,) of boxes (K, 4): the best of every group first, by their scores, then all second ones, and so on.

    Found on the CPU, since each group depends on those before.
    """
    device = scores.device
    boxes, scores = on_host([boxes, scores])
    inside = scores.new_zeros(len(scores))
    left = scores.sort(descending=True).indices
    overlaps = pairwise_iou(boxes, boxes)
    while len(left):
        group = torch.cat([left[:1], left[1:][overlaps[left[0], left[1:]] >= iou_thr]])
        inside[group] = torch.arange(len(group), device=group.device).to(inside)
        left = left[~torch.isin(left, group)]
    importance = len(scores) - inside + scores
    return importance.sort(descending=True).indices.argsort().to(device, non_blocking=True)
