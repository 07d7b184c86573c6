"""Focal losses against soft targets: heatmaps of keypoints, qualities of boxes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.models.losses.reduction import reduce_loss

EPSILON = 1e-12


class GaussianFocalLoss:
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
        self.alpha, self.gamma, self.reduction, self.loss_weight = alpha, gamma, reduction, loss_weight
        self.pos_weight, self.neg_weight = pos_weight, neg_weight

    def __call__(
        self, heat: Tensor, target: Tensor, weight: Tensor | None = None, avg_factor: float | Tensor | None = None
    ) -> Tensor:
        """The loss of scores against a target of the same shape, both between 0 and 1; 1 at a keypoint."""
        positive = self.pos_weight * self.positive(heat) * (target == 1)
        negative = self.neg_weight * self.negative(heat, target)
        return self.loss_weight * reduce_loss(positive + negative, weight, self.reduction, avg_factor)

    def positive(self, heat: Tensor) -> Tensor:
        """Losses of scores that should be 1."""
        return -(heat + EPSILON).log() * (1 - heat) ** self.alpha

    def negative(self, heat: Tensor, target: Tensor) -> Tensor:
        """Losses of scores that should be 0, less where the target is higher."""
        return -(1 - heat + EPSILON).log() * heat**self.alpha * (1 - target) ** self.gamma

    def with_positives(
        self, heat: Tensor, target: Tensor, places: Tensor, labels: Tensor, avg_factor: float | Tensor
    ) -> Tensor:
        """The loss of scores (K, C) where the positives are stated: rows `places` (M,) and columns `labels` (M,)."""
        positive = reduce_loss(self.positive(heat[places, labels]), None, self.reduction, avg_factor)
        negative = reduce_loss(self.negative(heat, target), None, self.reduction, avg_factor)
        return self.loss_weight * (self.pos_weight * positive + self.neg_weight * negative)


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
