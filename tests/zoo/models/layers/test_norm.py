"""Normalization layers that every supported PyTorch runs."""

from __future__ import annotations

import pytest
import torch

from zoo.models.layers.norm import make_norm, positive


@pytest.mark.parametrize("kind", ["BN", "FrozenBN", "SyncBN"])
def test_an_epsilon_of_zero_divides_by_the_deviation_alone(kind: str) -> None:
    """PyTorch 2.11 refuses it in inference, and every version in training."""
    _, norm = make_norm({"type": kind, "eps": 0}, 2)
    torch.nn.init.uniform_(norm.get_buffer("running_var"), 1e-12, 2)
    x = torch.randn(3, 2, 4, 4)
    want = x / norm.get_buffer("running_var").sqrt()[:, None, None]
    assert norm.eps > 0 and torch.allclose(norm.eval()(x), want, rtol=1e-6, atol=0)
    assert norm.train()(x).isfinite().all()


def test_no_variance_changes_by_the_epsilon_that_stands_for_zero() -> None:
    variances = torch.logspace(-30, 30, 601)
    assert torch.equal(variances + positive(0.0), variances) and positive(1e-5) == 1e-5
