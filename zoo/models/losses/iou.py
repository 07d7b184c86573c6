"""Box losses made of overlaps."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from zoo.models.box_ops import aligned_giou, aligned_iou, area, intersection
from zoo.models.coders.delta import center_and_size
from zoo.models.losses.base import Loss


class GIoULoss(Loss):
    """1 - generalized IoU (Rezatofighi et al., 2019)."""

    def __init__(self, eps: float = 1e-6, reduction: str = "mean", loss_weight: float = 1.0) -> None:
        super().__init__(reduction, loss_weight)
        self.eps = eps

    def __call__(
        self,
        x: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction: str | None = None,
    ) -> Tensor:
        """The loss of boxes `x` (K, 4) against boxes (K, 4). weight: (K,) or (K, 4). reduction: instead of its own."""
        reduction = reduction or self.reduction
        if weight is not None and reduction != "none" and len(x) == 0:  # not the mean of nothing
            return (x * (weight[:, None] if weight.dim() == 1 else weight)).sum()
        return super().__call__(x, target, weight, avg_factor, reduction)

    def fit(self, weight: Tensor | None) -> Tensor | None:
        """Weights in the shape of the element-wise losses."""
        return weight.mean(-1) if weight is not None and weight.dim() > 1 else weight

    def elements(self, x: Tensor, target: Tensor) -> Tensor:
        """Losses (K,)."""
        return 1 - aligned_giou(x, target, self.eps)


class IoULoss(GIoULoss):
    """-log IoU (Yu et al., UnitBox, 2016), or 1 - IoU (`linear`), or 1 - IoU squared (`square`)."""

    def __init__(
        self,
        linear: bool = False,
        eps: float = 1e-6,
        reduction: str = "mean",
        loss_weight: float = 1.0,
        mode: str = "log",
    ) -> None:
        super().__init__(eps, reduction, loss_weight)
        self.mode = "linear" if linear else mode

    def elements(self, x: Tensor, target: Tensor) -> Tensor:
        """Losses (K,)."""
        iou = aligned_iou(x, target).clamp(min=self.eps)
        return {"linear": lambda: 1 - iou, "square": lambda: 1 - iou**2, "log": lambda: -iou.log()}[self.mode]()


class BoundedIoULoss(GIoULoss):
    """An upper bound of the IoU per coordinate (Tychsen-Smith and Petersson, 2017)."""

    def __init__(self, beta: float = 0.2, eps: float = 1e-3, reduction: str = "mean", loss_weight: float = 1.0) -> None:
        super().__init__(eps, reduction, loss_weight)
        self.beta = beta

    def fit(self, weight: Tensor | None) -> Tensor | None:
        """Weights (K, 4)."""
        return weight

    def elements(self, x: Tensor, target: Tensor) -> Tensor:
        """Losses (K, 4)."""
        center, size = center_and_size(x)
        target_center, target_size = center_and_size(target)
        shift = 2 * (target_center - center).abs()
        away = 1 - ((target_size - shift) / (target_size + shift + self.eps)).clamp(min=0)
        stretch = 1 - torch.min(target_size / (size + self.eps), size / (target_size + self.eps))
        loss = torch.cat([away, stretch], dim=-1)
        return torch.where(loss < self.beta, 0.5 * loss * loss / self.beta, loss - 0.5 * self.beta)


class DIoULoss(GIoULoss):
    """1 - IoU plus the distance of the centers (Zheng et al., 2019)."""

    def elements(self, x: Tensor, target: Tensor) -> Tensor:
        """Losses (K,)."""
        return 1 - (self.iou(x, target) - self.distance(x, target))

    def iou(self, boxes: Tensor, target: Tensor) -> Tensor:
        """IoU (K,)."""
        shared = intersection(boxes, target)
        return shared / (area(boxes) + area(target) - shared + self.eps)

    def distance(self, boxes: Tensor, target: Tensor) -> Tensor:
        """Squared distance of the centers in units of the hull's diagonal (K,)."""
        hull = torch.max(boxes[:, 2:], target[:, 2:]) - torch.min(boxes[:, :2], target[:, :2])
        diagonal = hull.clamp(min=0).square().sum(dim=1) + self.eps
        return (center_and_size(boxes)[0] - center_and_size(target)[0]).square().sum(dim=1) / diagonal


class CIoULoss(DIoULoss):
    """DIoU plus the difference of the aspect ratios (Zheng et al., 2020)."""

    def elements(self, x: Tensor, target: Tensor) -> Tensor:
        """Losses (K,)."""
        iou = self.iou(x, target)
        angles = [torch.atan(w / (h + self.eps)) for w, h in (center_and_size(b)[1].unbind(-1) for b in (target, x))]
        shape = 4 / math.pi**2 * (angles[0] - angles[1]).square()
        with torch.no_grad():
            factor = (iou > 0.5).float() * shape / (1 - iou + shape)
        return 1 - (iou - self.distance(x, target) - factor * shape).clamp(-1, 1)
