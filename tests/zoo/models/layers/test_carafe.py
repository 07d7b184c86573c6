"""CARAFE against its definition, pixel by pixel."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from zoo.models.layers import carafe as module
from zoo.models.layers.carafe import CARAFEPack, carafe


def definition(x: Tensor, kernels: Tensor, size: int, groups: int, scale: int) -> Tensor:
    """The formula of the paper (equation 2), one output pixel, channel and window element at a time."""
    n, channels, height, width = x.shape
    out = x.new_zeros(n, channels, height * scale, width * scale)
    for b, c, i, j in torch.cartesian_prod(*(torch.arange(s) for s in out.shape)).tolist():
        group = c // (channels // groups)
        for element in range(size * size):
            y, z = i // scale + element // size - size // 2, j // scale + element % size - size // 2
            if 0 <= y < height and 0 <= z < width:
                out[b, c, i, j] += x[b, c, y, z] * kernels[b, group * size * size + element, i, j]
    return out


@pytest.mark.parametrize(("size", "groups", "scale"), [(5, 1, 2), (3, 2, 2), (3, 4, 3)])
def test_reassembly_equals_the_definition(size: int, groups: int, scale: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 4, 3, 4)
    kernels = torch.randn(2, groups * size**2, 3 * scale, 4 * scale)
    torch.testing.assert_close(
        carafe(x, kernels, size, groups, scale), definition(x, kernels, size, groups, scale), atol=1e-5, rtol=1e-5
    )


def test_blocks_of_rows_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    x, kernels = torch.randn(1, 4, 7, 5), torch.randn(1, 25, 14, 10)
    whole = carafe(x, kernels, 5, 1, 2)
    monkeypatch.setattr(module, "BLOCK", 1)
    torch.testing.assert_close(carafe(x, kernels, 5, 1, 2), whole)


def test_predicted_kernels_are_weights_of_a_mean() -> None:
    layer = CARAFEPack(8, 2, compressed_channels=4)
    upsampled = layer(torch.ones(1, 8, 6, 6))
    torch.testing.assert_close(upsampled[:, :, 4:-4, 4:-4], torch.ones(1, 8, 4, 4))


def test_no_regions_are_upsampled_to_none() -> None:
    assert CARAFEPack(8, 2)(torch.zeros(0, 8, 14, 14)).shape == (0, 8, 28, 28)


def test_gradients_reach_features_and_kernels() -> None:
    x = torch.randn(1, 2, 3, 3, dtype=torch.double, requires_grad=True)
    kernels = torch.randn(1, 9, 6, 6, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b: carafe(a, b, 3, 1, 2), (x, kernels))
