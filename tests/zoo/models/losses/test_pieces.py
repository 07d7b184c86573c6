"""A loss in pieces is the loss as a whole."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from zoo.models.losses import pieces
from zoo.models.losses.base import Loss
from zoo.models.losses.dice import DiceLoss
from zoo.models.losses.focal import FocalLoss, QualityFocalLoss
from zoo.models.losses.heatmap import GaussianFocalLoss, VarifocalLoss

ROWS, CLASSES = 203, 5
AVERAGE = 7.0


def quality(seed: int = 1) -> Tensor:
    return torch.rand(ROWS, CLASSES, generator=torch.Generator().manual_seed(seed))


def labels() -> Tensor:
    return torch.randint(0, CLASSES + 1, (ROWS,), generator=torch.Generator().manual_seed(2))


CASES: dict[str, tuple[Loss, Any]] = {
    "focal, labels": (FocalLoss(), labels()),
    "focal, of zeros and ones": (FocalLoss(loss_weight=2.0), quality() > 0.5),
    "quality": (QualityFocalLoss(), (labels(), quality()[:, 0])),
    "varifocal": (VarifocalLoss(), quality() * (quality(3) > 0.5)),
    "gaussian": (GaussianFocalLoss(), quality()),
    "dice, a loss per row": (DiceLoss(), quality()),
}
WEIGHTS = {"none": None, "of rows": quality(4)[:, 0]}


def in_pieces_of(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a loss be summed in pieces however few predictions there are."""
    monkeypatch.setattr(pieces, "LARGE_LOSS", 1)
    monkeypatch.setattr(pieces, "PIECE", rows * CLASSES)


def of(loss: Loss, target: Any, weight: Tensor | None, **how: Any) -> tuple[Tensor, Tensor]:
    """The loss and the gradient of its predictions."""
    x = quality(5).clamp(0.01, 0.99).requires_grad_()
    value = loss(x, target, weight, **how)
    (3 * value).backward()
    assert x.grad is not None
    return value.detach(), x.grad


@pytest.mark.parametrize("weight", WEIGHTS.values(), ids=WEIGHTS)
@pytest.mark.parametrize("how", [{"avg_factor": AVERAGE}, {"reduction": "sum"}], ids=["average", "sum"])
@pytest.mark.parametrize(("loss", "target"), CASES.values(), ids=CASES)
def test_pieces_add_up_to_the_loss_and_its_gradient(
    loss: Loss, target: Any, how: dict[str, Any], weight: Tensor | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if isinstance(loss, GaussianFocalLoss | VarifocalLoss) and weight is not None:
        weight = weight[:, None]
    whole, gradient = of(loss, target, weight, **how)
    in_pieces_of(50, monkeypatch)
    calls = counted(loss, monkeypatch)
    in_pieces, of_pieces = of(loss, target, weight, **how)
    assert calls == [50, 50, 50, 50, 3]
    torch.testing.assert_close(in_pieces, whole)
    torch.testing.assert_close(of_pieces, gradient)


def counted(loss: Loss, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows of each piece, as they come."""
    elements, calls = loss.elements, list[int]()

    def remembered(x: Tensor, target: Any) -> Tensor:
        calls.append(len(x))
        return elements(x, target)

    monkeypatch.setattr(loss, "elements", remembered)
    return calls


def test_pieces_add_up_under_autocast_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def in_bfloat16() -> tuple[Tensor, Tensor]:
        x = quality(5).bfloat16().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            value = FocalLoss()(x, labels(), avg_factor=AVERAGE)
        value.backward()
        assert x.grad is not None
        return value.detach(), x.grad

    whole = in_bfloat16()
    in_pieces_of(50, monkeypatch)
    torch.testing.assert_close(in_bfloat16(), whole)


def test_a_target_that_learns_keeps_its_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    in_pieces_of(2, monkeypatch)
    target = quality().requires_grad_()
    of(VarifocalLoss(), target, None, avg_factor=AVERAGE)
    assert target.grad is not None
    assert target.grad.abs().sum() > 0


def test_a_mean_over_all_elements_is_computed_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    loss = FocalLoss()
    whole = of(loss, labels(), None)
    in_pieces_of(2, monkeypatch)
    torch.testing.assert_close(of(loss, labels(), None), whole, rtol=0, atol=0)
    assert loss(quality(), labels(), reduction="none").shape == (ROWS, CLASSES)


def test_a_second_derivative_through_pieces_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    in_pieces_of(2, monkeypatch)
    x = quality(5).requires_grad_()
    with pytest.raises(RuntimeError, match="in pieces has no second derivative"):
        torch.autograd.grad(FocalLoss()(x, labels(), avg_factor=AVERAGE), x, create_graph=True)
