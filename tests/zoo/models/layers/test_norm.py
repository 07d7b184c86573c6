"""Normalization layers that every supported PyTorch runs."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from zoo.models.layers.norm import FixedNorm, make_norm, positive


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


@pytest.mark.parametrize(("kind", "inplace"), [("BN", False), ("BN", True), ("FrozenBN", False)])
def test_a_norm_that_learns_nothing_keeps_no_feature_map_for_the_gradient(kind: str, inplace: bool) -> None:
    """With fixed statistics and a fixed scale, output and gradient are batch norm's."""
    norm = norm_of_random_values(kind, inplace)
    x, upstream = torch.randn(2, 3, 8, 8, requires_grad=True), torch.randn(2, 3, 8, 8)
    want = F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
    (want_gradient,) = torch.autograd.grad(want, x, upstream)
    kept: list[int] = []
    feature_map = x + 0
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()), lambda _: norm.weight):
        result = norm(feature_map)
    assert torch.allclose(result, want, atol=1e-6) and max(kept, default=0) <= 3
    assert (result.data_ptr() == feature_map.data_ptr()) == inplace
    (gradient,) = torch.autograd.grad(norm(x + 0), x, upstream)
    assert torch.allclose(gradient, want_gradient, atol=1e-6)


def test_a_norm_whose_scale_learns_gets_its_gradient() -> None:
    norm = norm_of_random_values("BN", inplace=True)
    norm.requires_grad_()
    gradients = torch.autograd.grad(norm(torch.randn(2, 3, 8, 8)).square().sum(), [norm.weight, norm.bias])
    assert all(gradient.abs().min() > 0 for gradient in gradients)


def norm_of_random_values(kind: str, inplace: bool) -> FixedNorm:
    """A batch norm of three channels with fixed statistics and a fixed scale."""
    _, norm = make_norm({"type": kind, "requires_grad": False}, 3, inplace=inplace)
    assert isinstance(norm, FixedNorm)
    for values in norm.state_dict().values():
        if values.is_floating_point():
            torch.nn.init.uniform_(values, 0.5, 2)
    return norm.eval()
