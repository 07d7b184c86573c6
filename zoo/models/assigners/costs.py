"""What it costs to match a prediction with an object: matrices (Q, M) for bipartite matching."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.models.box_ops import aligned_giou, aligned_iou, box_convert


class ClassificationCost:
    """Minus the softmax probability of the object's class (Carion et al., DETR, 2020)."""

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = weight

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """logits: (Q, C). labels: (M,)."""
        return -self.weight * logits.softmax(-1)[:, labels]


class FocalLossCost:
    """The focal loss of saying the object's class minus that of denying it (Zhu et al., Deformable DETR, 2021).

    binary_input: predictions are masks, and the loss is the mean over their pixels (Cheng et al., MaskFormer, 2021).
    """

    def __init__(
        self,
        weight: float = 1.0,
        alpha: float = 0.25,
        gamma: float = 2.0,
        eps: float = 1e-12,
        binary_input: bool = False,
    ) -> None:
        self.weight, self.alpha, self.gamma, self.eps, self.binary_input = weight, alpha, gamma, eps, binary_input

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        """logits: (Q, C), and target the labels (M,); or masks (Q, P), and target (M, P) of zeros and ones."""
        p = logits.sigmoid()
        no = -(1 - p + self.eps).log() * (1 - self.alpha) * p.pow(self.gamma)
        yes = -(p + self.eps).log() * self.alpha * (1 - p).pow(self.gamma)
        if not self.binary_input:
            return self.weight * (yes[:, target] - no[:, target])
        return self.weight * pixel_cost(yes, no, target)


class CrossEntropyLossCost:
    """Mean binary cross entropy over the pixels of masks (Cheng et al., Mask2Former, 2022)."""

    def __init__(self, weight: float = 1.0, use_sigmoid: bool = True) -> None:
        self.weight = weight

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        """logits: (Q, P). target: (M, P) of zeros and ones."""
        return self.weight * pixel_cost(F.softplus(-logits), F.softplus(logits), target)


class DiceCost:
    """One minus the Dice coefficient of masks (Milletari et al., V-Net, 2016).

    pred_act: predictions are logits. naive_dice: sums instead of sums of squares in the denominator.
    """

    def __init__(self, weight: float = 1.0, pred_act: bool = False, eps: float = 1e-3, naive_dice: bool = True) -> None:
        self.weight, self.pred_act, self.eps, self.power = weight, pred_act, eps, 1 if naive_dice else 2

    def __call__(self, masks: Tensor, target: Tensor) -> Tensor:
        """masks: (Q, P). target: (M, P) of zeros and ones."""
        masks, target = masks.sigmoid() if self.pred_act else masks, target.to(masks.dtype)
        shared = 2 * masks @ target.T
        sizes = masks.pow(self.power).sum(1)[:, None] + target.pow(self.power).sum(1)
        return self.weight * (1 - (shared + self.eps) / (sizes + self.eps))


class BBoxL1Cost:
    """Sum of the absolute differences of the coordinates. box_format: "xywh" compares centers and sizes, or "xyxy"."""

    def __init__(self, weight: float = 1.0, box_format: str = "xyxy") -> None:
        self.weight, self.box_format = weight, "cxcywh" if box_format == "xywh" else box_format

    def __call__(self, boxes: Tensor, target: Tensor) -> Tensor:
        """boxes: (Q, 4) cxcywh and target: (M, 4) xyxy, both as shares of the image."""
        boxes = box_convert(boxes, "cxcywh", self.box_format)
        return self.weight * torch.cdist(boxes, box_convert(target, "xyxy", self.box_format), p=1)


class IoUCost:
    """Minus the overlap. iou_mode: "giou" or "iou"."""

    def __init__(self, iou_mode: str = "giou", weight: float = 1.0) -> None:
        self.overlap, self.weight = aligned_giou if iou_mode == "giou" else aligned_iou, weight

    def __call__(self, boxes: Tensor, target: Tensor) -> Tensor:
        """boxes: (Q, 4) and target: (M, 4), both xyxy in pixels."""
        return -self.weight * self.overlap(boxes[:, None], target[None])


def pixel_cost(yes: Tensor, no: Tensor, target: Tensor) -> Tensor:
    """Mean over pixels (Q, M) of what saying yes or no costs, (Q, P) each, for targets (M, P) of zeros and ones."""
    target = target.to(yes.dtype)
    return (yes @ target.T + no @ (1 - target).T) / yes.shape[1]
