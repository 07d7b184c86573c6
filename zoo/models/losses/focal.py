"""Focal losses: easy examples count less."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from zoo.models.losses.cross_entropy import one_hot
from zoo.models.losses.reduction import reduce_loss


class FocalLoss:
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
        self.gamma, self.alpha, self.reduction, self.loss_weight = gamma, alpha, reduction, loss_weight
        self.activated = activated

    def __call__(
        self,
        logits: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction: str | None = None,
    ) -> Tensor:
        """The loss of logits (K, C), or probabilities if `activated`.

        target: labels (K,), C for background, or (K, C) of zeros and ones. weight: (K,) or (K, C). reduction: instead
        of the loss's own.
        """
        if target.dim() == 1:
            target = one_hot(target, target >= 0, logits.shape[1])
        target = target.to(logits.dtype)
        probability = logits if self.activated else logits.sigmoid()
        wrong = (1 - probability) * target + probability * (1 - target)
        factor = (self.alpha * target + (1 - self.alpha) * (1 - target)) * wrong.pow(self.gamma)
        entropy = F.binary_cross_entropy if self.activated else F.binary_cross_entropy_with_logits
        loss = entropy(logits, target, reduction="none") * factor
        if weight is not None and weight.dim() == 1:
            weight = weight[:, None]
        return self.loss_weight * reduce_loss(loss, weight, reduction or self.reduction, avg_factor)


class QualityFocalLoss:
    """Focal loss against a quality between 0 and 1 (Li et al., Generalized Focal Loss, 2020, equation 5)."""

    def __init__(
        self,
        use_sigmoid: bool = True,
        beta: float = 2.0,
        reduction: str = "mean",
        loss_weight: float = 1.0,
        activated: bool = False,
    ) -> None:
        self.beta, self.reduction, self.loss_weight, self.activated = beta, reduction, loss_weight, activated

    def __call__(
        self,
        logits: Tensor,
        target: tuple[Tensor, Tensor],
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
    ) -> Tensor:
        """The loss of logits (K, C), or probabilities if `activated`; target: labels (K,), C for background, and
        qualities (K,). weight: (K,).
        """
        labels, quality = target
        entropy = F.binary_cross_entropy if self.activated else F.binary_cross_entropy_with_logits
        wanted = one_hot(labels, labels >= 0, logits.shape[1]) * quality[:, None]
        probability = logits if self.activated else logits.sigmoid()
        loss = entropy(logits, wanted, reduction="none") * (wanted - probability).abs().pow(self.beta)
        return self.loss_weight * reduce_loss(loss.sum(dim=1), weight, self.reduction, avg_factor)


class DistributionFocalLoss:
    """Cross entropy with the two bins around a real-valued target (Li et al., 2020, equation 6)."""

    def __init__(self, reduction: str = "mean", loss_weight: float = 1.0) -> None:
        self.reduction, self.loss_weight = reduction, loss_weight

    def __call__(
        self,
        logits: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
    ) -> Tensor:
        """The loss of bin logits (K, n + 1) against real targets (K,) in [0, n)."""
        left = target.long()
        loss = F.cross_entropy(logits, left, reduction="none") * (left + 1 - target)
        loss = loss + F.cross_entropy(logits, left + 1, reduction="none") * (target - left)
        return self.loss_weight * reduce_loss(loss, weight, self.reduction, avg_factor)
