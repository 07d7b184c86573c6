"""Winograd's convolution gives what the plain one does, about as exactly."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from zoo.models.layers import winograd
from zoo.models.layers.winograd import convolve


@pytest.mark.parametrize("size", [(4, 4), (1, 1), (13, 19), (16, 30), (25, 38)])
@pytest.mark.parametrize("count", [1, 3])
@torch.no_grad()
def test_it_is_as_exact_as_the_plain_one_at_any_size(size: tuple[int, int], count: int) -> None:
    torch.manual_seed(0)
    x, weight, bias = torch.randn(count, 24, *size), torch.randn(40, 24, 3, 3) / 15, torch.randn(40)
    exact = F.conv2d(x.double(), weight.double(), bias.double(), padding=1)
    assert (convolve(x, weight, bias) - exact).abs().max() < 2e-5
    assert (convolve(x, weight) - (exact - bias[:, None, None])).abs().max() < 2e-5


@torch.no_grad()
def test_rounding_does_not_grow_with_the_channels() -> None:
    torch.manual_seed(0)
    x, weight = (
        torch.randn(1, 256, 24, 40).contiguous(memory_format=torch.channels_last),
        torch.randn(8, 256, 3, 3) / 48,
    )
    exact = F.conv2d(x.double(), weight.double(), padding=1)
    errors = [float((way(x, weight) - exact).square().mean().sqrt()) for way in (convolve, plain)]
    assert errors[0] < 3 * errors[1] + 1e-6


def plain(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """PyTorch's convolution."""
    return F.conv2d(x, weight, padding=1)


@pytest.mark.parametrize("numbers", [1, 36 * 64 * 7, 36 * 64 * 50, 1 << 22])
@torch.no_grad()
def test_the_parts_make_no_difference(numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(3, 32, 22, 18), torch.randn(32, 32, 3, 3) / 17
    whole = convolve(x, weight)
    monkeypatch.setattr(winograd, "NUMBERS_AT_ONCE", numbers)
    torch.testing.assert_close(convolve(x, weight), whole, rtol=0, atol=1e-5)


@torch.no_grad()
def test_the_channels_of_a_cell_lie_together() -> None:
    result = convolve(torch.randn(2, 8, 9, 11), torch.randn(8, 8, 3, 3))
    assert result.is_contiguous(memory_format=torch.channels_last)


def test_the_three_transforms_are_exact_together() -> None:
    """In exact arithmetic, a tile of products is a correlation: here with integers, in double precision."""
    inputs, back = (matrix.double() for matrix in winograd.transforms())
    filters = winograd.filter_transform().double()
    torch.manual_seed(0)
    tile, weight = torch.randint(-9, 9, (6, 6)).double(), torch.randint(-9, 9, (3, 3)).double()
    result = back @ ((inputs @ tile.flatten()) * (filters @ weight.flatten()))
    expected = F.conv2d(tile[None, None], weight[None, None]).flatten()
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-4)
