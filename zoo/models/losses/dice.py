"""Dice loss of masks (Milletari et al., V-Net, 2016)."""

from __future__ import annotations

from torch import Tensor

from zoo.models.losses.base import Loss


class DiceLoss(Loss):
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
        super().__init__(reduction, loss_weight)
        self.activate, self.naive, self.eps = activate, naive_dice, eps

    def elements(self, x: Tensor, target: Tensor) -> Tensor:
        """Losses (K,) of masks (K, ...) against masks of the same shape."""
        x = (x.sigmoid() if self.activate else x).flatten(1)
        target = target.flatten(1).to(x.dtype)
        shared = 2 * (x * target).sum(1)
        if self.naive:
            return 1 - (shared + self.eps) / (x.sum(1) + target.sum(1) + self.eps)
        return 1 - shared / (x.square().sum(1) + target.square().sum(1) + 2 * self.eps)
