"""The masked convolution against a whole one."""

from __future__ import annotations

import pytest
import torch

from zoo.models.layers import masked_conv
from zoo.models.layers.masked_conv import MaskedConv2d


@pytest.mark.parametrize("dense", [0.0, 1.0])
@pytest.mark.parametrize("kernel_size", [1, 3])
def test_masked_positions_equal_the_whole_convolution_and_others_are_zero(
    kernel_size: int, dense: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(masked_conv, "DENSE", dense)
    torch.manual_seed(0)
    layer = MaskedConv2d(4, 6, kernel_size, padding=kernel_size // 2)
    x, mask = torch.randn(2, 4, 5, 7), torch.rand(2, 5, 7) > 0.6
    expected = layer(x) * mask[:, None]
    torch.testing.assert_close(layer(x, mask), expected)


def test_an_empty_mask_gives_zeros() -> None:
    layer = MaskedConv2d(4, 6, 3, padding=1)
    out = layer(torch.randn(1, 4, 5, 7), torch.zeros(1, 5, 7, dtype=torch.bool))
    assert out.shape == (1, 6, 5, 7) and not out.any()


@pytest.mark.parametrize("dense", [0.0, 1.0])
def test_input_and_parameters_have_the_gradient_of_the_operator(dense: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masked_conv, "DENSE", dense)
    torch.manual_seed(0)
    layer = MaskedConv2d(2, 3, 3, padding=1).double()
    x, mask = torch.randn(2, 2, 4, 5, dtype=torch.float64, requires_grad=True), torch.rand(2, 4, 5) > 0.6

    def convolve(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        parameters = {"weight": weight, "bias": bias}
        return torch.func.functional_call(layer, parameters, (x, mask))

    assert torch.autograd.gradcheck(convolve, (x, layer.weight, layer.bias))
