"""Losses of Mask Scoring R-CNN: how good each mask is, is learned too (Huang et al., 2019, section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from zoo.models.build import component
from zoo.models.criteria.protocols import LossHead, MaskHead, StandardHead
from zoo.models.criteria.roi_sampling import mask_losses, mask_targets
from zoo.models.criteria.standard_roi import positive_labels, positive_rois, sampled_box_losses
from zoo.models.targets import GroundTruth, Samples
from zoo.structures import ImageGeometry

EPSILON = 1e-7


class MaskIoUHead(LossHead, Protocol):
    """A head that predicts how good masks are."""

    def __call__(self, x: Tensor, masks: Tensor, /) -> Tensor:
        """IoUs (K, num_classes) from region features and mask probabilities (K, h, w)."""
        ...


class MaskScoringHeadLike(StandardHead, Protocol):
    """What these losses ask of a head."""

    mask_head: MaskHead
    mask_iou_head: MaskIoUHead

    def mask_features(self, features: Sequence[Tensor], rois: Tensor, /) -> Tensor:
        """What the mask head sees of regions (K, 5)."""
        ...


def mask_scoring_losses(
    head: MaskScoringHeadLike,
    features: Sequence[Tensor],
    proposals: Sequence[Tensor],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """`loss_cls`, `loss_bbox`, `loss_mask`, and `loss_mask_iou` of the expected overlaps of the masks."""
    samples, losses = sampled_box_losses(head, features, proposals, ground_truths)
    labels = positive_labels(samples, ground_truths)
    x = head.mask_features(features, positive_rois(samples))
    logits, targets = head.mask_head(x), mask_targets(samples, ground_truths, head.train_cfg["mask_size"])
    losses.update(mask_losses(head.mask_head, logits, targets, labels))
    own = head.mask_head.of_class(logits, labels)
    expected = head.mask_iou_head(x, own.sigmoid())[torch.arange(len(labels), device=labels.device), labels]
    wanted = overlaps(own.detach() > head.train_cfg["mask_thr_binary"], targets, shares(samples, ground_truths))
    counts = wanted > 0
    loss = component(head.mask_iou_head.loss_cfg["iou"])
    losses["loss_mask_iou"] = loss(expected[counts], wanted[counts]) if counts.any() else expected.sum() * 0
    return losses


def overlaps(result: Tensor, targets: Tensor, inside: Tensor) -> Tensor:
    """IoU (K,) of masks (K, h, w) with objects, of which `targets` (K, h, w) is the part within the region.

    inside: (K,), the share of the object that lies within.
    """
    shared = (result * targets).sum(dim=(1, 2))
    whole = targets.sum(dim=(1, 2)) / (inside + EPSILON)
    return shared / (result.sum(dim=(1, 2)) + whole - shared)


def shares(samples: Sequence[Samples], ground_truths: Sequence[GroundTruth]) -> Tensor:
    """How much of each positive region's object lies in it, in whole pixels, (K,)."""
    result = []
    for s, ground_truth in zip(samples, ground_truths):
        if ground_truth.masks is None or len(s.positive) == 0:
            result.append(s.boxes.new_zeros(0))
            continue
        height, width = ground_truth.masks.shape[1:]
        limit = s.boxes.new_tensor([width, height, width, height])
        boxes = torch.min(s.boxes[s.positive].trunc().clamp(min=0), limit)
        boxes[:, 2:] = torch.max(boxes[:, 2:], boxes[:, :2] + 1)
        y, x = (torch.arange(side, device=boxes.device) for side in (height, width))
        rows = (y >= boxes[:, 1:2]) & (y < boxes[:, 3:])
        columns = (x >= boxes[:, :1]) & (x < boxes[:, 2:3])
        masks = ground_truth.masks[s.matched].to(boxes)
        part = torch.einsum("khw,kh,kw->k", masks, rows.to(boxes), columns.to(boxes))
        result.append(part / (masks.sum(dim=(1, 2)) + EPSILON))
    return torch.cat(result)
