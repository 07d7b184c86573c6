"""What losses share: how element-wise losses become one number."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from zoo.models.losses.pieces import in_pieces, summed
from zoo.models.losses.reduction import reduce_loss


class Loss:
    """A weighted loss of predictions against targets.

    reduction: "mean", "sum" or "none" of the element-wise losses. loss_weight: factor of the result. A loss defines
    `elements`, and `fit` where its weights have another shape than its element-wise losses.
    """

    def __init__(self, reduction: str = "mean", loss_weight: float = 1.0) -> None:
        self.reduction, self.loss_weight = reduction, loss_weight

    def __call__(
        self,
        x: Tensor,
        target: Any,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction: str | None = None,
    ) -> Tensor:
        """The loss of predictions `x`; their shapes are those of `elements`.

        weight: of the elements, or of the predictions (K,). avg_factor: a mean divides by it instead of the number of
        elements. reduction: instead of the loss's own.
        """
        weight, reduction = self.fit(weight), reduction or self.reduction
        is_sum = reduction == "sum" or (reduction == "mean" and avg_factor is not None)
        if not (is_sum and in_pieces(x, target, weight)):
            return self.reduced(self.elements(x, target), weight, avg_factor, reduction)
        return self.reduced(summed(self.total, x, target, weight), None, avg_factor, reduction)

    def total(self, x: Tensor, target: Any, weight: Tensor | None) -> Tensor:
        """The sum of the weighted element-wise losses."""
        return reduce_loss(self.elements(x, target), weight, "sum")

    def elements(self, x: Tensor, target: Any) -> Tensor:
        """Element-wise losses."""
        raise NotImplementedError

    def fit(self, weight: Tensor | None) -> Tensor | None:
        """Weights in a shape that the element-wise losses can be multiplied by."""
        return weight

    def reduced(
        self,
        loss: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction: str | None = None,
    ) -> Tensor:
        """Element-wise losses as one number, or as they are for the reduction "none"."""
        return self.loss_weight * reduce_loss(loss, weight, reduction or self.reduction, avg_factor)
