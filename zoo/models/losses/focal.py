"""Focal losses: easy examples count less."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from zoo.models.losses.base import Loss
from zoo.models.losses.cross_entropy import one_hot


class FocalLoss(Loss):
    """Sigmoid focal loss (Lin et al., 2017, equation 5)."""

    def __init__(
        self,
        use_sigmoid: bool = True,
        gamma: float = 2.0,
        alpha: float = 0.25,
        reduction: str = "mean",
        loss_weight: float = 1.0,
        activated: bool = False,
    ) -> None:
        super().__init__(reduction, loss_weight)
        self.gamma, self.alpha, self.activated = gamma, alpha, activated

    def elements(self, x: Tensor, target: Tensor) -> Tensor:
        """Losses (K, C) of logits (K, C), or probabilities if `activated`.

        target: labels (K,), C for background, or (K, C) of zeros and ones.
        """
        if target.dim() == 1:
            target = one_hot(target, target >= 0, x.shape[1])
        target = target.to(x.dtype)
        probability = x if self.activated else x.sigmoid()
        wrong = (1 - probability) * target + probability * (1 - target)
        factor = (self.alpha * target + (1 - self.alpha) * (1 - target)) * wrong.pow(self.gamma)
        entropy = F.binary_cross_entropy if self.activated else F.binary_cross_entropy_with_logits
        return entropy(x, target, reduction="none") * factor

    def fit(self, weight: Tensor | None) -> Tensor | None:
        """Weights (K, 1) or (K, C)."""
        return weight[:, None] if weight is not None and weight.dim() == 1 else weight


class QualityFocalLoss(Loss):
    """Focal loss against a quality between 0 and 1 (Li et al., Generalized Focal Loss, 2020, equation 5)."""

    def __init__(
        self,
        use_sigmoid: bool = True,
        beta: float = 2.0,
        reduction: str = "mean",
        loss_weight: float = 1.0,
        activated: bool = False,
    ) -> None:
        super().__init__(reduction, loss_weight)
        self.beta, self.activated = beta, activated

    def elements(self, x: Tensor, target: tuple[Tensor, Tensor]) -> Tensor:
        """Losses (K,) of logits (K, C), or probabilities if `activated`.

        target: labels (K,), C for background, and qualities (K,).
        """
        labels, quality = target
        entropy = F.binary_cross_entropy if self.activated else F.binary_cross_entropy_with_logits
        wanted = one_hot(labels, labels >= 0, x.shape[1]) * quality[:, None]
        probability = x if self.activated else x.sigmoid()
        loss = entropy(x, wanted, reduction="none") * (wanted - probability).abs().pow(self.beta)
        return loss.sum(dim=1)


class DistributionFocalLoss(Loss):
    """Cross entropy with the two bins around a real-valued target (Li et al., 2020, equation 6)."""

    def elements(self, x: Tensor, target: Tensor) -> Tensor:
        """Losses (K,) of bin logits (K, n + 1) against real targets (K,) in [0, n)."""
        left = target.long()
        loss = F.cross_entropy(x, left, reduction="none") * (left + 1 - target)
        return loss + F.cross_entropy(x, left + 1, reduction="none") * (target - left)
