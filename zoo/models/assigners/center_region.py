"""Assignment by the middle of an object (Zhu et al., FSAF, 2019, section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.models.box_ops import area, pairwise_iof
from zoo.models.coders.bucketing import rescaled
from zoo.models.coders.delta import center_and_size
from zoo.models.targets import BACKGROUND, IGNORED, Assignment, GroundTruth


@dataclass
class Shadowed(Assignment):
    """An assignment, and the classes for which a prior is neither positive nor background: (P, M) per object."""

    shadows: Tensor


class CenterRegionAssigner:
    """A prior belongs to the smallest object whose middle it covers.

    pos_scale: size of the middle in boxes. neg_scale: within this, a prior is not a background for the object's class.
    min_pos_iof: least share of the prior that must lie in the middle. ignore_gt_scale: the middle of a crowd's box,
    where priors are ignored. foreground_dominate: positives win over shadows of their own class, instead of becoming
    background.
    """

    def __init__(
        self,
        pos_scale: float,
        neg_scale: float,
        min_pos_iof: float = 1e-2,
        ignore_gt_scale: float = 0.5,
        foreground_dominate: bool = False,
    ) -> None:
        self.positive, self.negative, self.least = pos_scale, neg_scale, min_pos_iof
        self.crowd, self.dominate = ignore_gt_scale, foreground_dominate

    def assign(self, boxes: Tensor, ground_truth: GroundTruth) -> Shadowed:
        """Match priors (P, 4) with the objects of an image."""
        index = torch.full((len(boxes),), BACKGROUND, device=boxes.device)
        core = covers(boxes, ground_truth.boxes)
        core &= pairwise_iof(boxes, rescaled(ground_truth.boxes, self.positive)) > self.least
        shadow = (pairwise_iof(boxes, rescaled(ground_truth.boxes, self.negative)) > self.least) & ~core
        if len(ground_truth):
            priority = area(ground_truth.boxes).sort(descending=True).indices.argsort()
            best, owner = torch.where(core, priority, -1).max(dim=1)
            index = torch.where(best >= 0, owner, index)
            shadow |= core & (torch.arange(len(ground_truth), device=owner.device) != owner[:, None])
            self.settle(index, shadow, ground_truth)
        if ground_truth.ignored is not None and len(ground_truth.ignored):
            index[covers(boxes, rescaled(ground_truth.ignored, self.crowd)).any(dim=1)] = IGNORED
        return Shadowed(index, boxes.new_zeros(len(boxes)), shadow)

    def settle(self, index: Tensor, shadow: Tensor, ground_truth: GroundTruth) -> None:
        """Where a prior is positive for a class and in the shadow of another object of it, one of both gives way."""
        own = torch.where(index >= 0, ground_truth.labels[index.clamp(min=0)], -1)
        both = shadow & (own[:, None] == ground_truth.labels)
        if self.dominate:
            shadow &= ~both
        else:
            index[both.any(dim=1)] = BACKGROUND


def covers(boxes: Tensor, objects: Tensor) -> Tensor:
    """Whether the centers of boxes (P, 4) lie in objects (M, 4): (P, M)."""
    center = center_and_size(boxes)[0][:, None]
    return ((center > objects[:, :2]) & (center < objects[:, 2:])).all(dim=-1)
