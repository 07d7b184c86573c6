"""Dice loss of masks (Milletari et al., V-Net, 2016)."""

from __future__ import annotations

from torch import Tensor

from zoo.models.losses.reduction import reduce_loss


class DiceLoss:
    """One minus the Dice coefficient.

    activate: predictions are logits. naive_dice: sums instead of sums of squares in the denominator.
    """

    def __init__(
        self,
        use_sigmoid: bool = True,
        activate: bool = True,
        reduction: str = "mean",
        naive_dice: bool = False,
        loss_weight: float = 1.0,
        eps: float = 1e-3,
    ) -> None:
        self.activate, self.naive = activate, naive_dice
        self.reduction, self.loss_weight, self.eps = reduction, loss_weight, eps

    def __call__(
        self,
        masks: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction: str | None = None,
    ) -> Tensor:
        """The loss of masks (K, ...) against masks of the same shape. weight: (K,). reduction: instead of its own."""
        masks = masks.sigmoid() if self.activate else masks
        loss = self.elements(masks.flatten(1), target.flatten(1).to(masks.dtype))
        return self.loss_weight * reduce_loss(loss, weight, reduction or self.reduction, avg_factor)

    def elements(self, x: Tensor, target: Tensor) -> Tensor:
        """Losses (K,) of probabilities (K, P)."""
        shared = 2 * (x * target).sum(1)
        if self.naive:
            return 1 - (shared + self.eps) / (x.sum(1) + target.sum(1) + self.eps)
        return 1 - shared / (x.square().sum(1) + target.square().sum(1) + 2 * self.eps)
