"""Scores in falling order, and the best of a long list."""

from __future__ import annotations

from torch import Tensor

from zoo.models.layers.cpu_choices import LONG_LIST
from zoo.models.layers.tracing import first, recording


def ranked(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Scores (K,) from high to low, and their indices.

    Deliberately the plain sort that the reference uses: where scores saturate at 1.0, hundreds are equal, and
    which of them survive depends on the sorting algorithm.
    """
    return scores.sort(descending=True)


def best(scores: Tensor, count: int) -> Tensor:
    """Indices of the `count` highest of the scores (K,), best first, where K is larger.

    On a CPU a long list is sorted no further than that; of equal scores in it the first ones are taken.
    """
    if recording() or scores.device.type != "cpu" or len(scores) < LONG_LIST:
        return first(ranked(scores)[1], count)
    return first_best(scores, count)


def first_best(scores: Tensor, count: int) -> Tensor:
    """Indices of the `count` highest of the scores (K,), best first, of equal ones the first; K is no smaller."""
    lowest = scores.topk(count, sorted=False).values.min()
    candidates = (~(scores < lowest)).nonzero().squeeze(1)  # NaN is in, as in a sorted list
    return candidates[scores[candidates].sort(descending=True, stable=True).indices[:count]]
