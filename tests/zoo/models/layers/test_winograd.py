"""Winograd's convolution gives what the plain one does, about as exactly."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from zoo.models.layers import winograd
from zoo.models.layers.winograd import FEW, MANY, at_once, available, convolve, pack, tile_rows

pytestmark = pytest.mark.skipif(not available(), reason="this PyTorch or processor has no packed convolutions")


@pytest.mark.parametrize("size", [(4, 4), (1, 1), (13, 19), (16, 30), (25, 38)])
@pytest.mark.parametrize("count", [1, 3])
@torch.no_grad()
def test_it_is_as_exact_as_the_plain_one_at_any_size(size: tuple[int, int], count: int) -> None:
    torch.manual_seed(0)
    x, weight, bias = torch.randn(count, 24, *size), torch.randn(40, 24, 3, 3) / 15, torch.randn(40)
    exact = F.conv2d(x.double(), weight.double(), bias.double(), padding=1)
    assert (convolve(x, pack(weight), bias) - exact).abs().max() < 2e-5
    assert (convolve(x, pack(weight)) - (exact - bias[:, None, None])).abs().max() < 2e-5


@torch.no_grad()
def test_an_activation_is_computed_with_the_tiles_and_beside_them() -> None:
    torch.manual_seed(0)
    x, filters, bias = torch.randn(1, 24, 25, 38), pack(torch.randn(40, 24, 3, 3) / 15), torch.randn(40)
    assert torch.equal(convolve(x, filters, bias, torch.nn.ReLU()), convolve(x, filters, bias).relu())


def test_few_rows_that_would_take_more_tiles_are_computed_directly() -> None:
    """25 x 38 has 70 tiles, of which 60 are no more than 64. The last row of 38 x 38 spares no chunk of 64."""
    assert tile_rows(1, 25, 38) == 6 and tile_rows(1, 38, 38) == 10
    assert tile_rows(1, 24, 38) == 6 and tile_rows(1, 1, 38) == 1


def test_many_tiles_are_computed_at_once_where_filters_are_large_and_few_are_for_nothing() -> None:
    large = 256 * 256
    assert at_once(large, 25 * 38) == at_once(large, 50 * 76) == MANY
    assert all(at_once(large, tiles) == FEW for tiles in (13 * 19, 7 * 10, 100 * 4 * 4))
    assert at_once(128 * 128, 50 * 76) == FEW


@pytest.mark.parametrize("size", [(100, 152), (61, 90)])
@torch.no_grad()
def test_many_at_once_give_what_few_give(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Filters are laid out once for each of both, whichever comes first."""
    torch.manual_seed(0)
    x, filters, bias = torch.randn(1, 32, *size), pack(torch.randn(24, 32, 3, 3) / 17), torch.randn(24)
    few = convolve(x, filters, bias)
    assert set(filters.packed) == {FEW}
    monkeypatch.setattr(winograd, "LARGE_FILTERS", 1)
    many = convolve(x, filters, bias)
    assert set(filters.packed) == {FEW, MANY}
    torch.testing.assert_close(many, few, rtol=0, atol=1e-5)
    monkeypatch.undo()
    assert torch.equal(convolve(x, filters, bias), few)


@torch.no_grad()
def test_rounding_does_not_grow_with_the_channels() -> None:
    torch.manual_seed(0)
    x, weight = (
        torch.randn(1, 256, 24, 40).contiguous(memory_format=torch.channels_last),
        torch.randn(8, 256, 3, 3) / 48,
    )
    exact = F.conv2d(x.double(), weight.double(), padding=1)
    errors = [float((way(x, weight) - exact).square().mean().sqrt()) for way in (by_tiles, plain)]
    assert errors[0] < 3 * errors[1] + 1e-6


def by_tiles(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Winograd's convolution."""
    return convolve(x, pack(weight))


def plain(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """PyTorch's convolution."""
    return F.conv2d(x, weight, padding=1)


@torch.no_grad()
def test_maps_of_a_batch_are_computed_like_single_ones() -> None:
    torch.manual_seed(0)
    x, filters = torch.randn(20, 32, 14, 14), pack(torch.randn(32, 32, 3, 3) / 17)
    alone = torch.cat([convolve(one[None], filters) for one in x])
    torch.testing.assert_close(convolve(x, filters), alone, rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_cell_that_is_no_number_spoils_only_the_tiles_that_read_it() -> None:
    """The memory of a chunk is used again for the next: nothing stays in it. Here the last chunk is a short one."""
    x, filters = torch.randn(1, 16, 40, 40), pack(torch.randn(16, 16, 3, 3))
    clean = convolve(x, filters)
    x[..., 0, 0] = float("nan")
    spoiled = convolve(x, filters)
    assert 2 * FEW > 10 * 10 > FEW
    assert spoiled[..., 0, 0].isnan().all() and torch.equal(spoiled[..., 4:, :], clean[..., 4:, :])


@torch.no_grad()
def test_the_channels_of_a_cell_lie_together() -> None:
    result = convolve(torch.randn(2, 8, 9, 11), pack(torch.randn(8, 8, 3, 3)))
    assert result.is_contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def test_the_default_device_does_not_matter(ask_again: None) -> None:
    """What is computed beforehand is for the CPU, and `meta` stands for any other device."""
    x, filters = torch.randn(1, 16, 9, 44), pack(torch.randn(16, 16, 3, 3))
    expected = convolve(x, filters, torch.ones(16, device="cpu"))
    for cached in (winograd.chunks, winograd.transforms, winograd.shifts, winograd.filter_transform):
        cached.cache_clear()
    with torch.device("meta"):
        assert winograd.available()
        assert torch.equal(convolve(x, pack(filters.weight), torch.ones(16, device="cpu")), expected)


def test_the_three_transforms_are_exact_together() -> None:
    """In exact arithmetic, a tile of products is a correlation: here with integers, in double precision."""
    inputs, back = (matrix.double() for matrix in winograd.transforms())
    filters = winograd.filter_transform().double()
    torch.manual_seed(0)
    tile, weight = torch.randint(-9, 9, (6, 6)).double(), torch.randint(-9, 9, (3, 3)).double()
    result = back @ ((inputs @ tile.flatten()) * (filters @ weight.flatten()))
    expected = F.conv2d(tile[None, None], weight[None, None]).flatten()
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-4)


@pytest.fixture
def ask_again():
    """Whether the operators are there is asked anew, before and after."""
    winograd.available.cache_clear()
    yield
    winograd.available.cache_clear()


def test_operators_that_changed_are_not_used(monkeypatch: pytest.MonkeyPatch, ask_again: None) -> None:
    """They are not public: a later PyTorch may have others, or the same with other results."""
    monkeypatch.setattr(winograd, "has_onednn", lambda: True)
    assert winograd.available()
    for broken in (no_such_operator, lambda factors, packed, shift: 1.01 * factors):
        winograd.available.cache_clear()
        monkeypatch.setattr(winograd, "multiply", broken)
        assert not winograd.available()


def no_such_operator(factors: torch.Tensor, packed: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """As PyTorch says it."""
    raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute '_convolution_pointwise'")
