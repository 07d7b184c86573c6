"""Cross entropy over classes, per class, or per mask pixel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.models.layers.constants import constant
from zoo.models.losses.base import Loss


class CrossEntropyLoss(Loss):
    """Softmax cross entropy; `use_sigmoid` is binary per class, `use_mask` binary per pixel of the object's class.

    class_weight: factor per class. ignore_index: label without a loss.
    """

    def __init__(
        self,
        use_sigmoid: bool = False,
        use_mask: bool = False,
        reduction: str = "mean",
        class_weight: Sequence[float] | None = None,
        ignore_index: int | None = None,
        loss_weight: float = 1.0,
        avg_non_ignore: bool = False,
    ) -> None:
        self.kind = "sigmoid" if use_sigmoid else "mask" if use_mask else "softmax"
        super().__init__(reduction, loss_weight)
        self.class_weight = class_weight
        self.ignore_index = -100 if ignore_index is None else ignore_index
        self.avg_non_ignore = avg_non_ignore

    def __call__(
        self,
        x: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction: str | None = None,
    ) -> Tensor:
        """The loss of logits `x` (K, C).

        target: labels (K,), where for sigmoid scores any label outside 0..C-1 is background, or probabilities shaped
        like the logits. weight: (K,) or the shape of the logits. reduction: instead of the loss's own.
        """
        loss, weight, counted = self.weighted(x, target, weight)
        reduction = reduction or self.reduction
        if avg_factor is None and self.avg_non_ignore and reduction == "mean":
            avg_factor = counted
        return self.reduced(loss, weight, avg_factor, reduction)

    def weighted(self, logits: Tensor, target: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor]:
        """Element-wise losses, their weights, and how many are not ignored."""
        class_weight = None if self.class_weight is None else constant(tuple(self.class_weight), logits)
        if self.kind != "sigmoid":
            loss = F.cross_entropy(
                logits, target, weight=class_weight, reduction="none", ignore_index=self.ignore_index
            )
            return loss, weight, (target != self.ignore_index).sum()
        valid = (target >= 0) & (target != self.ignore_index)
        if logits.dim() != target.dim():
            target, valid = one_hot(target, valid, logits.shape[-1]), valid[:, None].expand_as(logits)
            weight = weight[:, None] if weight is not None else None
        mask = valid.to(logits.dtype)
        loss = F.binary_cross_entropy_with_logits(
            logits, target.to(logits.dtype), pos_weight=class_weight, reduction="none"
        )
        return loss, mask if weight is None else weight * mask, mask.sum()

    def masks(self, logits: Tensor, target: Tensor, labels: Tensor) -> Tensor:
        """The loss of mask logits (K, C, h, w) against masks (K, h, w) of objects with labels (K,)."""
        own = logits[torch.arange(len(logits), device=logits.device), labels]
        return self.loss_weight * F.binary_cross_entropy_with_logits(own, target)


def one_hot(labels: Tensor, valid: Tensor, classes: int) -> Tensor:
    """Labels (K,) as (K, classes), true at each label; rows of labels outside the classes are false."""
    return (labels[:, None] == torch.arange(classes, device=labels.device)) & valid[:, None]
