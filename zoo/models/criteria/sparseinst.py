"""Losses of SparseInst (Cheng et al., 2022, section 3.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.errors import UsageError
from zoo.models.assigners.hungarian import cheapest
from zoo.models.build import component
from zoo.models.losses.reduction import mean_over_processes
from zoo.models.targets import GroundTruth

FOCAL = {"type": "FocalLoss", "use_sigmoid": True, "reduction": "sum", "loss_weight": 2.0}
BINARY = {"type": "CrossEntropyLoss", "use_sigmoid": True}
DICE = {"type": "DiceLoss", "use_sigmoid": True, "reduction": "sum", "eps": 5e-5, "loss_weight": 2.0}
CERTAIN = 0.4
"""Above this a pixel counts as the mask's when its overlap with the object is measured."""


class SparseInstCriterion:
    """Objects and predictions are matched one to one; objectness learns the masks' overlap with their objects."""

    def __init__(
        self,
        assigner: Mapping[str, Any],
        num_classes: int | None = None,
        loss_cls: Mapping[str, Any] = FOCAL,
        loss_obj: Mapping[str, Any] = BINARY,
        loss_mask: Mapping[str, Any] = {**BINARY, "loss_weight": 5.0},
        loss_dice: Mapping[str, Any] = DICE,
    ) -> None:
        self.assigner = component(assigner)
        self.loss_cls, self.loss_obj = component(loss_cls), component(loss_obj)
        self.loss_mask, self.loss_dice = component(loss_mask), component(loss_dice)

    def __call__(
        self, logits: Tensor, objectness: Tensor, masks: Tensor, ground_truths: Sequence[GroundTruth]
    ) -> dict[str, Tensor]:
        """`loss_cls`, `loss_obj`, `loss_dice` and `loss_mask`.

        logits: (N, Q, C). objectness: (N, Q) logits. masks: (N, Q, H, W) logits.
        """
        targets = [resized(target, (masks.shape[2], masks.shape[3])) for target in ground_truths]
        pairs = cheapest([self.assigner.cost(*image) for image in zip(logits, masks, targets, ground_truths)])
        labels = torch.full(logits.shape[:2], logits.shape[2], device=logits.device)
        for row, (queries, objects), target in zip(labels, pairs, ground_truths):
            row[queries] = target.labels[objects]
        count = sum(len(target) for target in ground_truths)
        average = mean_over_processes(logits.new_full((), float(count))).clamp(min=1)
        losses = {"loss_cls": self.loss_cls(logits.flatten(0, 1), labels.flatten()) / average}
        wanted = torch.cat([target[objects] for target, (_, objects) in zip(targets, pairs)]).flatten(1)
        result = torch.cat([mask[queries] for mask, (queries, _) in zip(masks, pairs)]).flatten(1)
        scores = torch.cat([score[queries] for score, (queries, _) in zip(objectness, pairs)])
        if len(result) == 0:
            return {**losses, "loss_obj": scores.sum(), "loss_dice": result.sum(), "loss_mask": result.sum()}
        return {
            **losses,
            "loss_obj": self.loss_obj(scores, overlap(result.detach(), wanted)),
            "loss_dice": self.loss_dice(result, wanted) / average,
            "loss_mask": self.loss_mask(result, wanted),
        }


def resized(ground_truth: GroundTruth, size: tuple[int, int]) -> Tensor:
    """Masks (M, H, W) as numbers between 0 and 1 of (M, *size)."""
    if ground_truth.masks is None:
        raise UsageError("SparseInst learns from masks: every target needs `masks`")
    if len(ground_truth) == 0:
        return ground_truth.boxes.new_zeros((0, *size))
    return F.interpolate(ground_truth.masks[:, None].float(), size, mode="bilinear")[:, 0]


def overlap(logits: Tensor, wanted: Tensor) -> Tensor:
    """IoU (K,) of masks (K, P), as logits, with others (K, P)."""
    result, wanted = logits.sigmoid() >= CERTAIN, wanted > 0.5
    shared = (result & wanted).sum(dim=1)
    return shared / (result.sum(dim=1) + wanted.sum(dim=1) - shared + 1e-6)
