"""Adaptive training sample selection (Zhang et al., 2019, algorithm 1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zoo.models.box_ops import pairwise_iof, pairwise_iou
from zoo.models.coders.delta import centre_and_size
from zoo.models.targets import BACKGROUND, IGNORED, Assignment, Truth


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
        truth: Truth,
        scores: Tensor | None = None,
        predicted: Tensor | None = None,
    ) -> Assignment:
        """Match priors (P, 4), `counts` of them per level, with the objects of a picture.

        scores: class logits (P, C), predicted: boxes (P, 4), both for the dynamic cost only.
        """
        index = torch.full((len(boxes),), BACKGROUND, device=boxes.device)
        if len(truth) == 0 or len(boxes) == 0:
            return Assignment(index, boxes.new_zeros(len(boxes)))
        overlaps = self.quality(boxes, truth, scores, predicted)
        distances = (centre_and_size(boxes)[0][:, None] - centre_and_size(truth.boxes)[0]).square().sum(-1).sqrt()
        if self.ignore_from > 0 and truth.ignored is not None and len(truth.ignored):
            inside = pairwise_iof(boxes, truth.ignored).max(dim=1).values > self.ignore_from
            distances[inside], index[inside] = torch.inf, IGNORED
        chosen = self.choose(boxes, nearest(distances, counts, self.topk), overlaps, truth)
        best, owner = torch.where(chosen, overlaps, overlaps.new_tensor(-torch.inf)).max(dim=1)
        positive = best > -torch.inf
        index[positive] = owner[positive]
        return Assignment(index, best)

    def quality(self, boxes: Tensor, truth: Truth, scores: Tensor | None, predicted: Tensor | None) -> Tensor:
        """What is compared (P, M): overlaps of the priors, or of the predictions mixed with their class scores."""
        if self.alpha is None or scores is None or predicted is None:
            return pairwise_iou(boxes, truth.boxes)
        overlaps = pairwise_iou(predicted, truth.boxes)
        return scores[:, truth.labels].sigmoid() ** (1 - self.alpha) * overlaps**self.alpha

    def choose(self, boxes: Tensor, candidates: Tensor, overlaps: Tensor, truth: Truth) -> Tensor:
        """Which (prior, object) pairs (P, M) are positive, of candidate indices (K, M)."""
        quality = overlaps.gather(0, candidates)
        good = quality >= quality.mean(dim=0) + quality.std(dim=0)
        good &= inside(boxes, candidates, truth)
        return torch.zeros_like(overlaps, dtype=torch.bool).scatter_(0, candidates, good)


def nearest(distances: Tensor, counts: Sequence[int], topk: int) -> Tensor:
    """Indices (K, M) of the nearest priors of each level, level after level, from distances (P, M)."""
    start, found = 0, []
    for part in distances.split(list(counts)):
        found.append(part.topk(min(topk, len(part)), dim=0, largest=False).indices + start)
        start += len(part)
    return torch.cat(found)


def inside(boxes: Tensor, candidates: Tensor, truth: Truth) -> Tensor:
    """Whether the centres of candidates, indices (K, M) of priors (P, 4), lie in their objects' boxes."""
    centre = centre_and_size(boxes)[0][candidates]
    sides = torch.cat([centre - truth.boxes[:, :2], truth.boxes[:, 2:] - centre], dim=-1)
    return sides.min(dim=-1).values > 0.01
