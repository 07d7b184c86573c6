"""Element-wise regression losses."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from zoo.models.losses.base import Loss


class L1Loss(Loss):
    """Absolute difference."""

    def elements(self, x: Tensor, target: Tensor) -> Tensor:
        """Element-wise loss."""
        return (x - target).abs()


class SmoothL1Loss(Loss):
    """Quadratic below `beta`, linear above (Girshick, Fast R-CNN, 2015, equation 3)."""

    def __init__(self, beta: float = 1.0, reduction: str = "mean", loss_weight: float = 1.0) -> None:
        super().__init__(reduction, loss_weight)
        self.beta = beta

    def elements(self, x: Tensor, target: Tensor) -> Tensor:
        """Element-wise loss."""
        difference = (x - target).abs()
        return torch.where(
            difference < self.beta, 0.5 * difference * difference / self.beta, difference - 0.5 * self.beta
        )


class HuberLoss(SmoothL1Loss):
    """`beta` times the smooth L1 loss (Huber, 1964), so that its quadratic part does not depend on `beta`."""

    def elements(self, x: Tensor, target: Tensor) -> Tensor:
        """Element-wise loss."""
        return super().elements(x, target) * self.beta


class MSELoss(Loss):
    """Squared difference."""

    def elements(self, x: Tensor, target: Tensor) -> Tensor:
        """Element-wise loss."""
        return (x - target).square()


class BalancedL1Loss(Loss):
    """Inliers get a larger share of the gradient (Pang et al., Libra R-CNN, 2019, equation 8)."""

    def __init__(
        self,
        alpha: float = 0.5,
        gamma: float = 1.5,
        beta: float = 1.0,
        reduction: str = "mean",
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(reduction, loss_weight)
        self.alpha, self.gamma, self.beta = alpha, gamma, beta

    def elements(self, x: Tensor, target: Tensor) -> Tensor:
        """Element-wise loss."""
        difference = (x - target).abs()
        b = math.exp(self.gamma / self.alpha) - 1
        inside = self.alpha / b * (b * difference + 1) * torch.log(b * difference / self.beta + 1)
        outside = self.gamma * difference + self.gamma / b - self.alpha * self.beta
        return torch.where(difference < self.beta, inside - self.alpha * difference, outside)
