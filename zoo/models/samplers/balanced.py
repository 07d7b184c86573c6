"""Samplers that give rare kinds of regions their share (Pang et al., Libra R-CNN, 2019, section 3.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from zoo.models.build import component
from zoo.models.samplers.random import RandomSampler, choose
from zoo.models.targets import Assignment


class InstanceBalancedPosSampler(RandomSampler):
    """Positives come from all objects in about equal numbers."""

    def positives(
        self, candidates: Tensor, count: int, assignment: Assignment, boxes: Tensor, labels: Tensor, hardness: Any
    ) -> Tensor:
        """At most `count` of the positives."""
        if len(candidates) <= count:
            return candidates
        owners = assignment.index[candidates]
        objects = owners.unique()
        each = round(count / len(objects)) + 1
        chosen = torch.cat([choose(candidates[owners == i], each) for i in objects])
        return filled(choose(chosen, count), candidates, count)


class IoUBalancedNegSampler(RandomSampler):
    """Negatives come from all overlaps in about equal numbers.

    floor_thr: from which overlap on. floor_fraction: share of those below. num_bins: parts of the overlaps above.
    """

    def __init__(
        self,
        num: int,
        pos_fraction: float,
        floor_thr: float = -1,
        floor_fraction: float = 0,
        num_bins: int = 3,
        **kwargs: Any,
    ) -> None:
        super().__init__(num, pos_fraction, **kwargs)
        self.floor, self.floor_share, self.bins = floor_thr, floor_fraction, num_bins

    def negatives(self, candidates: Tensor, count: int, assignment: Assignment, boxes: Tensor, hardness: Any) -> Tensor:
        """At most `count` of the negatives."""
        if len(candidates) <= count:
            return candidates
        overlaps = assignment.overlaps[candidates]
        below = overlaps < self.floor if self.floor > 0 else overlaps == 0
        if self.floor < 0:
            below = torch.zeros_like(below)
        wanted = int(count * (1 - self.floor_share))
        above = self.over_bins(candidates[~below], overlaps[~below], float(assignment.overlaps.max()), wanted)
        low = choose(candidates[below], count - len(above))
        return filled(torch.cat([low, above]), candidates, count)

    def over_bins(self, candidates: Tensor, overlaps: Tensor, largest: float, count: int) -> Tensor:
        """At most `count` of the candidates, in equal numbers from equal parts of the overlaps up to the largest."""
        if len(candidates) <= count or self.bins < 2:
            return choose(candidates, count)
        low = max(self.floor, 0.0)
        step = (largest - low) / self.bins
        starts = [low + i * step for i in range(self.bins)]
        parts = [candidates[(overlaps >= start) & (overlaps < start + step)] for start in starts]
        return filled(torch.cat([choose(part, count // self.bins) for part in parts]), candidates, count)


class CombinedSampler(RandomSampler):
    """Positives from one sampler, negatives from another."""

    def __init__(
        self,
        num: int,
        pos_fraction: float,
        pos_sampler: Mapping[str, Any],
        neg_sampler: Mapping[str, Any],
        **kwargs: Any,
    ) -> None:
        super().__init__(num, pos_fraction, **kwargs)
        shared = {"num": num, "pos_fraction": pos_fraction}
        self.of_positives, self.of_negatives = (
            component({**shared, **pos_sampler}),
            component({**shared, **neg_sampler}),
        )

    def positives(self, *args: Any) -> Tensor:
        """What the first sampler takes."""
        chosen: Tensor = self.of_positives.positives(*args)
        return chosen

    def negatives(self, *args: Any) -> Tensor:
        """What the second sampler takes."""
        chosen: Tensor = self.of_negatives.negatives(*args)
        return chosen


def filled(chosen: Tensor, candidates: Tensor, count: int) -> Tensor:
    """The chosen ones and, where they are fewer than `count`, others of the candidates at random."""
    others = candidates[~torch.isin(candidates, chosen)]
    return torch.cat([chosen, choose(others, max(count - len(chosen), 0))])
