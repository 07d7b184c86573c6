"""The sum of a loss over many predictions on the CPU, piece by piece.

What a focal loss computes in between has the size of the predictions: RetinaNet's 440,000 anchors of 80 classes fill
142 MB, ten times over. Pieces of 1 MB stay in the processor's cache, and only the gradient is kept for the backward
pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from zoo.models.layers.cpu_choices import LARGE_LOSS
from zoo.models.layers.first_derivative import only_first
from zoo.models.layers.tracing import in_graph

# Numbers of a piece.
PIECE = 1 << 18
# (rows of the predictions, their targets, their weights) -> their summed loss.
SumOf = Callable[[Tensor, Any, Tensor | None], Tensor]


def in_pieces(x: Tensor, target: Any, weight: Tensor | None) -> bool:
    """Whether the sum over predictions `x` (K, ...) is computed in pieces; only `x` may need a gradient then."""
    if x.device.type != "cpu" or x.numel() < LARGE_LOSS or not (x.requires_grad and torch.is_grad_enabled()):
        return False
    constants = (*(target if isinstance(target, tuple) else (target,)), weight)
    return not any(isinstance(y, Tensor) and y.requires_grad for y in constants) and not in_graph()


def summed(sum_of: SumOf, x: Tensor, target: Any, weight: Tensor | None) -> Tensor:
    """The summed loss of predictions `x` (K, ...), whose rows `sum_of` treats independently.

    target, weight: a tensor, or a tuple of tensors; those with K rows are cut like `x`. A second derivative raises
    RuntimeError.
    """
    return SumOfPieces.apply(x, sum_of, target, weight)  # type: ignore[no-any-return]


class SumOfPieces(torch.autograd.Function):
    """A sum over rows whose gradient is computed together with it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, sum_of: SumOf, target: Any, weight: Tensor | None) -> Tensor:
        """The sum; the gradient of `x` waits for the backward pass."""
        gradient, totals = torch.empty_like(x), []
        step = max(PIECE * len(x) // x.numel(), 1)
        for start in range(0, len(x), step):
            rows = slice(start, start + step)
            piece = x[rows].detach().requires_grad_()
            with torch.enable_grad():
                total = sum_of(piece, cut(target, rows, len(x)), cut(weight, rows, len(x)))
            gradient[rows] = torch.autograd.grad(total, piece)[0]
            totals.append(total.detach())
        ctx.save_for_backward(gradient)
        return torch.stack(totals).sum()

    @staticmethod
    def backward(ctx: Any, of_sum: Tensor) -> tuple[Tensor, None, None, None]:
        """The gradient of `x` from the sum's."""
        only_first("a loss computed in pieces")
        (gradient,) = ctx.saved_tensors
        return gradient * of_sum, None, None, None


def cut(value: Any, rows: slice, count: int) -> Any:
    """The part of a tensor, or of each in a tuple, that belongs to these of `count` rows."""
    if isinstance(value, tuple):
        return tuple(cut(part, rows, count) for part in value)
    of_rows = isinstance(value, Tensor) and value.dim() > 0 and len(value) == count
    return value[rows] if of_rows else value
