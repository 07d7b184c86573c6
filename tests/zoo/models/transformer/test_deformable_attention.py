"""Multi-scale deformable attention is its definition, in training and, as sums of rows, in inference."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from zoo.models.transformer import attention_rows, deformable_attention
from zoo.models.transformer.deformable_attention import sample_levels

SHAPES = [(3, 4), (2, 2)]


def slow_samples(value: Tensor, shapes: list[tuple[int, int]], locations: Tensor, weights: Tensor) -> Tensor:
    """The definition, sample by sample."""
    batch, queries, heads, levels, points, _ = locations.shape
    out = value.new_zeros(batch, queries, heads, value.shape[-1])
    starts = [0]
    for h, w in shapes:
        starts.append(starts[-1] + h * w)
    for index in torch.cartesian_prod(*(torch.arange(n) for n in (batch, queries, heads, levels, points))).tolist():
        n, q, head, level, _ = index
        h, w = shapes[level]
        x, y = (locations[tuple(index)] * torch.tensor([w, h]) - 0.5).tolist()
        for i in range(h):
            for j in range(w):
                share = max(0, 1 - abs(x - j)) * max(0, 1 - abs(y - i))
                out[n, q, head] += weights[tuple(index)] * share * value[n, starts[level] + i * w + j, head]
    return out.flatten(2)


def example() -> tuple[Tensor, Tensor, Tensor]:
    """Values, locations of which some are outside, and weights: 2 images, 3 queries, 2 heads, 2 levels, 2 points."""
    generator = torch.Generator().manual_seed(0)
    value, weights = torch.rand(2, 16, 2, 3, generator=generator), torch.rand(2, 3, 2, 2, 2, generator=generator)
    locations = torch.rand(2, 3, 2, 2, 2, 2, generator=generator) * 1.6 - 0.3
    locations[0, 0, 0, :, 0], locations[0, 0, 0, :, 1] = 0.0, 1.0
    locations[0, 1, 0, 0], locations[0, 1, 0, 1] = 1e30, -1e30
    return value, locations, weights


@pytest.mark.parametrize("learning", [True, False])
@pytest.mark.parametrize("at_once", [512, 2])
def test_it_is_its_definition(learning: bool, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention_rows, "QUERIES", at_once)
    value, locations, weights = example()
    with torch.set_grad_enabled(learning):
        got = sample_levels(value, SHAPES, locations, weights)
    torch.testing.assert_close(got, slow_samples(value, SHAPES, locations, weights))


def test_inference_on_a_cpu_sums_rows_and_training_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> Tensor:
        raise AssertionError

    monkeypatch.setattr(deformable_attention, "sum_rows", refuse)
    value, locations, weights = example()
    sample_levels(value, SHAPES, locations, weights)
    with torch.no_grad():
        sample_levels(value.double(), SHAPES, locations.double(), weights.double())
        with pytest.raises(AssertionError):
            sample_levels(value, SHAPES, locations, weights)


@torch.no_grad()
def test_rows_are_found_under_another_default_device() -> None:
    value, locations, weights = example()
    with torch.device("meta"):
        have = sample_levels(value, SHAPES, locations, weights)
    torch.testing.assert_close(have, sample_levels(value, SHAPES, locations, weights))


@torch.no_grad()
def test_a_location_that_is_no_number_spoils_its_own_query_and_head_only() -> None:
    value, locations, weights = example()
    expected = sample_levels(value, SHAPES, locations, weights)
    locations[1, 2, 1, 0, 1, 0] = float("nan")
    got = sample_levels(value, SHAPES, locations, weights).unflatten(-1, (2, 3))
    assert got[1, 2, 1].isnan().all()
    got[1, 2, 1] = expected.unflatten(-1, (2, 3))[1, 2, 1]
    torch.testing.assert_close(got.flatten(2), expected, rtol=0, atol=0)
