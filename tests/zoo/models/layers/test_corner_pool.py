"""Corner pooling against its definition."""

from __future__ import annotations

import pytest
import torch

from zoo.models.layers.corner_pool import corner_pool


@pytest.mark.parametrize(
    ("direction", "rows", "columns"),
    [
        ("top", lambda y: slice(y, None), lambda x: slice(x, x + 1)),
        ("bottom", lambda y: slice(0, y + 1), lambda x: slice(x, x + 1)),
        ("left", lambda y: slice(y, y + 1), lambda x: slice(x, None)),
        ("right", lambda y: slice(y, y + 1), lambda x: slice(0, x + 1)),
    ],
)
def test_each_cell_is_the_maximum_of_what_lies_before_it(direction, rows, columns):
    x = torch.randn(2, 3, 5, 6)
    pooled = corner_pool(x, direction)
    for i in range(5):
        for j in range(6):
            expected = x[:, :, rows(i), columns(j)].amax(dim=(2, 3))
            torch.testing.assert_close(pooled[:, :, i, j], expected)


@pytest.mark.parametrize("direction", ["top", "bottom", "left", "right"])
def test_the_input_has_the_gradient_of_the_operator(direction):
    torch.manual_seed(0)
    x = torch.randn(2, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: corner_pool(x, direction), x)
