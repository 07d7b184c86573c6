"""Focal losses against soft targets: heatmaps of keypoints, qualities of boxes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.models.losses.base import Loss

EPSILON = 1e-12


class GaussianFocalLoss(Loss):
    """Focal loss of a heatmap; near a keypoint a high score is less wrong (Law and Deng, CornerNet, 2018, eq. 1).

    pos_weight, neg_weight: of the keypoints, and of everything else.
    """

    def __init__(
        self,
        alpha: float = 2.0,
        gamma: float = 4.0,
        reduction: str = "mean",
        loss_weight: float = 1.0,
        pos_weight: float = 1.0,
        neg_weight: float = 1.0,
    ) -> None:
        super().__init__(reduction, loss_weight)
        self.alpha, self.gamma = alpha, gamma
        self.pos_weight, self.neg_weight = pos_weight, neg_weight

    def elements(self, x: Tensor, target: Tensor) -> Tensor:
        """Losses of scores against a target of the same shape, both between 0 and 1; 1 at a keypoint."""
        positive = self.pos_weight * self.positive(x) * (target == 1)
        return positive + self.neg_weight * self.negative(x, target)

    def positive(self, heat: Tensor) -> Tensor:
        """Losses of scores that should be 1."""
        return -(heat + EPSILON).log() * (1 - heat) ** self.alpha

    def negative(self, heat: Tensor, target: Tensor) -> Tensor:
        """Losses of scores that should be 0, less where the target is higher."""
        return -(1 - heat + EPSILON).log() * heat**self.alpha * (1 - target) ** self.gamma

    def with_positives(
        self, heat: Tensor, target: Tensor, rows: Tensor, labels: Tensor, avg_factor: float | Tensor
    ) -> Tensor:
        """The loss of scores (K, C) where the positives are stated: `rows` (M,) and columns `labels` (M,)."""
        positive = self.reduced(self.positive(heat[rows, labels]), avg_factor=avg_factor)
        negative = self.reduced(self.negative(heat, target), avg_factor=avg_factor)
        return self.pos_weight * positive + self.neg_weight * negative


class VarifocalLoss(Loss):
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
        super().__init__(reduction, loss_weight)
        self.alpha, self.gamma, self.iou_weighted = alpha, gamma, iou_weighted

    def elements(self, x: Tensor, target: Tensor) -> Tensor:
        """Losses of logits (K, C) against qualities (K, C), zero for background."""
        target = target.to(x.dtype)
        negative = self.alpha * (x.sigmoid() - target).abs().pow(self.gamma)
        positive = target if self.iou_weighted else torch.ones_like(target)
        loss = F.binary_cross_entropy_with_logits(x, target, reduction="none")
        return loss * torch.where(target > 0, positive, negative)
