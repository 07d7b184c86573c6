"""The same number of anchors for every object (Chen et al., YOLOF, 2021, section 4.2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.models.box_ops import box_convert, pairwise_iou
from zoo.models.targets import BACKGROUND, IGNORED, Assignment, GroundTruth


@dataclass
class UniformMatch:
    """Pairs of a prior and an object, (K,) indices each, whether they count, and the assignment that they lead to."""

    priors: Tensor
    objects: Tensor
    counts: Tensor
    assignment: Assignment


class UniformAssigner:
    """For each object the `match_times` nearest anchors, and the anchors of as many nearest predictions.

    pos_ignore_thr: pairs of an overlap below this are left out. neg_ignore_thr: predictions that overlap an object by
    more than this are no background.
    """

    def __init__(self, pos_ignore_thr: float, neg_ignore_thr: float, match_times: int = 4) -> None:
        self.positive_from, self.negative_to, self.times = pos_ignore_thr, neg_ignore_thr, match_times

    @torch.no_grad()
    def assign(self, predicted: Tensor, anchors: Tensor, ground_truth: GroundTruth) -> UniformMatch:
        """Match predicted boxes (P, 4) and their anchors (P, 4) with the objects of an image."""
        index = torch.full((len(anchors),), BACKGROUND, device=anchors.device)
        if len(ground_truth) == 0:
            none = index[:0]
            return UniformMatch(none, none, none.bool(), Assignment(index, anchors.new_zeros(len(anchors))))
        times = min(self.times, len(anchors))
        near = [
            l1(boxes, ground_truth.boxes).topk(times, dim=0, largest=False).indices for boxes in (predicted, anchors)
        ]
        priors = torch.cat(near, dim=1).flatten()
        objects = torch.arange(len(ground_truth), device=index.device).repeat(2 * times)
        overlaps = pairwise_iou(anchors, ground_truth.boxes)
        counts = overlaps[priors, objects] >= self.positive_from
        index[pairwise_iou(predicted, ground_truth.boxes).max(dim=1).values > self.negative_to] = IGNORED
        index[priors] = torch.where(counts, objects, IGNORED)
        return UniformMatch(priors, objects, counts, Assignment(index, overlaps.max(dim=1).values))


def l1(a: Tensor, b: Tensor) -> Tensor:
    """Sums of the differences (P, M) of centers and sizes of boxes (P, 4) and (M, 4)."""
    return torch.cdist(box_convert(a, "xyxy", "cxcywh"), box_convert(b, "xyxy", "cxcywh"), p=1)
