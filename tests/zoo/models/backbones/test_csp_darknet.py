"""CSPDarknet's pooling."""

from __future__ import annotations

import pytest
import torch

from zoo.models.backbones.csp_darknet import SPPBottleneck, widenings


@pytest.mark.parametrize("kernel_sizes", [(5, 9, 13), (3, 5, 7, 15), (5,), (9, 5), (5, 5)])
def test_windows_out_of_smaller_ones_have_the_same_maxima(kernel_sizes) -> None:
    """Bit for bit, at the borders too and where something is not a number or infinite."""
    torch.manual_seed(0)
    layer, x = SPPBottleneck(8, kernel_sizes), torch.randn(2, 4, 11, 20)
    x[0, 0, 3, 4], x[0, 1, 0, 0], x[1, 2] = torch.nan, torch.inf, -torch.inf
    want = [pool(x) for pool in layer.poolings]
    with torch.inference_mode():
        have = layer.pooled(x)
    assert all(torch.equal(a.nan_to_num(99), b.nan_to_num(99)) for a, b in zip(have, want, strict=True))


def test_only_growing_odd_windows_are_made_of_smaller_ones() -> None:
    assert widenings((5, 9, 13)) == [5, 5, 5] and widenings((3, 15)) == [3, 13]
    assert widenings((9, 5)) == widenings((5, 5)) == widenings((4, 9)) == []
