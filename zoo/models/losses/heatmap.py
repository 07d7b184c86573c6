"""Focal losses against soft targets: heatmaps of keypoints, qualities of boxes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.models.losses.reduction import reduce_loss

EPSILON = 1e-12


class GaussianFocalLoss:
    """Focal loss of a heatmap; near a keypoint a high score is less wrong (Law and Deng, CornerNet, 2018, eq. 1)."""

    def __init__(
        self, alpha: float = 2.0, gamma: float = 4.0, reduction: str = "mean", loss_weight: float = 1.0
    ) -> None:
        self.alpha, self.gamma, self.reduction, self.loss_weight = alpha, gamma, reduction, loss_weight

    def __call__(
        self, heat: Tensor, target: Tensor, weight: Tensor | None = None, avg_factor: float | Tensor | None = None
    ) -> Tensor:
        """The loss of scores against a target of the same shape, both between 0 and 1; 1 at a keypoint."""
        positive = -(heat + EPSILON).log() * (1 - heat) ** self.alpha * (target == 1)
        negative = -(1 - heat + EPSILON).log() * heat**self.alpha * (1 - target) ** self.gamma
        return self.loss_weight * reduce_loss(positive + negative, weight, self.reduction, avg_factor)


class VarifocalLoss:
    """Focal loss of the negatives only; positives count by their quality (Zhang et al., VarifocalNet, 2021, eq. 2)."""

    def __init__(
        self,
        use_sigmoid: bool = True,
        alpha: float = 0.75,
        gamma: float = 2.0,
        iou_weighted: bool = True,
        reduction: str = "mean",
        loss_weight: float = 1.0,
    ) -> None:
        self.alpha, self.gamma, self.iou_weighted = alpha, gamma, iou_weighted
        self.reduction, self.loss_weight = reduction, loss_weight

    def __call__(
        self,
        logits: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
    ) -> Tensor:
        """The loss of logits (K, C) against qualities (K, C), zero for background."""
        target = target.to(logits.dtype)
        negative = self.alpha * (logits.sigmoid() - target).abs().pow(self.gamma)
        positive = target if self.iou_weighted else torch.ones_like(target)
        loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        loss = loss * torch.where(target > 0, positive, negative)
        return self.loss_weight * reduce_loss(loss, weight, self.reduction, avg_factor)
