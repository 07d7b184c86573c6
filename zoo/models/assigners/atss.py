"""Adaptive training sample selection (Zhang et al., 2019, algorithm 1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zoo.models.box_ops import pairwise_iof, pairwise_iou
from zoo.models.coders.delta import center_and_size
from zoo.models.targets import BACKGROUND, IGNORED, Assignment, GroundTruth


class ATSSAssigner:
    """Of the `topk` nearest priors per level, those inside whose overlap exceeds the mean plus the deviation.

    alpha: weighs predicted quality against classification for the dynamic cost of DDOD; None for plain overlaps.
    ignore_iof_thr: priors that lie in a crowd's box to more than this share are ignored; negative for never.
    """

    def __init__(self, topk: int, alpha: float | None = None, ignore_iof_thr: float = -1) -> None:
        self.topk, self.alpha, self.ignore_from = topk, alpha, ignore_iof_thr

    def assign(
        self,
        boxes: Tensor,
        counts: Sequence[int],
        ground_truth: GroundTruth,
        scores: Tensor | None = None,
        predicted: Tensor | None = None,
    ) -> Assignment:
        """Match priors (P, 4), `counts` of them per level, with the objects of an image.

        scores: class logits (P, C), predicted: boxes (P, 4), both for the dynamic cost only.
        """
        index = torch.full((len(boxes),), BACKGROUND, device=boxes.device)
        if len(ground_truth) == 0 or len(boxes) == 0:
            return Assignment(index, boxes.new_zeros(len(boxes)))
        overlaps = self.quality(boxes, ground_truth, scores, predicted)
        distances = (
            (center_and_size(boxes)[0][:, None] - center_and_size(ground_truth.boxes)[0]).square().sum(-1).sqrt()
        )
        if self.ignore_from > 0 and ground_truth.ignored is not None and len(ground_truth.ignored):
            inside = pairwise_iof(boxes, ground_truth.ignored).max(dim=1).values > self.ignore_from
            distances[inside], index[inside] = torch.inf, IGNORED
        chosen = self.choose(boxes, nearest(distances, counts, self.topk), overlaps, ground_truth)
        best, owner = torch.where(chosen, overlaps, -torch.inf).max(dim=1)
        positive = best > -torch.inf
        index = torch.where(positive, owner, index)
        return Assignment(index, best)

    def quality(
        self, boxes: Tensor, ground_truth: GroundTruth, scores: Tensor | None, predicted: Tensor | None
    ) -> Tensor:
        """What is compared (P, M): overlaps of the priors, or of the predictions mixed with their class scores."""
        if self.alpha is None or scores is None or predicted is None:
            return pairwise_iou(boxes, ground_truth.boxes)
        overlaps = pairwise_iou(predicted, ground_truth.boxes)
        return scores[:, ground_truth.labels].sigmoid() ** (1 - self.alpha) * overlaps**self.alpha

    def choose(self, boxes: Tensor, candidates: Tensor, overlaps: Tensor, ground_truth: GroundTruth) -> Tensor:
        """Which (prior, object) pairs (P, M) are positive, of candidate indices (K, M)."""
        quality = overlaps.gather(0, candidates)
        good = quality >= quality.mean(dim=0) + quality.std(dim=0)
        good &= inside(boxes, candidates, ground_truth)
        return torch.zeros_like(overlaps, dtype=torch.bool).scatter_(0, candidates, good)


def nearest(distances: Tensor, counts: Sequence[int], topk: int) -> Tensor:
    """Indices (K, M) of the nearest priors of each level, level after level, from distances (P, M)."""
    start, result = 0, []
    for part in distances.split(list(counts)):
        result.append(part.topk(min(topk, len(part)), dim=0, largest=False).indices + start)
        start += len(part)
    return torch.cat(result)


def inside(boxes: Tensor, candidates: Tensor, ground_truth: GroundTruth) -> Tensor:
    """Whether the centers of candidates, indices (K, M) of priors (P, 4), lie in their objects' boxes."""
    center = center_and_size(boxes)[0][candidates]
    sides = torch.cat([center - ground_truth.boxes[:, :2], ground_truth.boxes[:, 2:] - center], dim=-1)
    return sides.min(dim=-1).values > 0.01
