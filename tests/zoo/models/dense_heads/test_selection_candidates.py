"""Candidates of dense heads: the short cut of a CPU finds what looking at all pairs finds."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from zoo.models.dense_heads import selection


def different(*shape: int) -> Tensor:
    """Scores below 1, no two of them equal."""
    count = math.prod(shape)
    return (torch.randperm(count, generator=torch.Generator().manual_seed(0)) / count).view(shape)


def all_pairs(scores: Tensor, threshold: float, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Every pair above the threshold, sorted."""
    index, labels = (scores > threshold).nonzero(as_tuple=True)
    kept, order = scores[index, labels].sort(descending=True, stable=True)
    return kept[:count], index[order][:count], labels[order][:count]


@pytest.mark.parametrize("threshold", [0.05, 0.9, 0.9999])
@pytest.mark.parametrize("shape", [(5000, 80), (900, 20), (40_000, 1)])
def test_the_best_pairs_are_those_of_all_pairs(shape: tuple[int, int], threshold: float) -> None:
    scores = different(*shape)
    for one, other in zip(selection.above_threshold(scores, threshold, 1000), all_pairs(scores, threshold, 1000)):
        assert torch.equal(one, other)


def test_of_saturated_scores_the_first_ones_are_taken() -> None:
    scores = different(5000, 80)
    scores[1000:4000, 3] = 1.0
    kept, index, labels = selection.above_threshold(scores, 0.05, 1000)
    assert kept.eq(1.0).all() and labels.eq(3).all() and torch.equal(index, torch.arange(1000, 2000))


def test_scores_that_are_no_numbers_take_no_place() -> None:
    scores = different(5000, 80)
    scores[:2000] = torch.nan
    for one, other in zip(selection.above_threshold(scores, 0.05, 1000), all_pairs(scores, 0.05, 1000)):
        assert torch.equal(one, other)


@pytest.mark.parametrize("count", [1000, 5000, -1])
@pytest.mark.parametrize("shape", [(5000, 80), (900, 20), (40_000, 1)])
def test_a_graph_takes_the_same_pairs(shape: tuple[int, int], count: int) -> None:
    scores = different(*shape)
    expected = all_pairs(scores, 0.5, scores.numel() if count < 0 else count)
    for one, other in zip(selection.recorded_above_threshold(scores, 0.5, count), expected):
        assert torch.equal(one, other)
