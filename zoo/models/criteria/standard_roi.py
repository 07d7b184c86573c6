"""Losses of the second stage of Faster and Mask R-CNN."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from zoo.models.build import component
from zoo.models.criteria.keypoints import keypoint_losses
from zoo.models.criteria.protocols import BoxHead, MaskLearner, StandardHead
from zoo.models.criteria.roi_sampling import mask_losses, mask_targets, region_losses, sample_regions
from zoo.models.roi_heads.extractor import rois_of
from zoo.models.roi_heads.protocols import BoxOutputs
from zoo.models.targets import GroundTruth, Samples
from zoo.structures import ImageGeometry


def standard_losses(
    head: StandardHead,
    features: Sequence[Tensor],
    proposals: Sequence[Tensor],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """`loss_cls`, `loss_bbox` and, with such heads, `loss_mask` and `loss_keypoint` of a `StandardRoIHead`.

    features: per level (N, C, H, W). proposals: per image (R, 4) xyxy.
    """
    samples, losses = sampled_box_losses(head, features, proposals, ground_truths)
    if head.mask_head is not None:
        masks = head.mask_logits(features, positive_rois(samples))
        size, soft = head.train_cfg["mask_size"], head.train_cfg.get("soft_masks", False)
        losses.update(region_mask_losses(head.mask_head, masks, samples, ground_truths, size, soft))
    if head.keypoint_head is not None:
        heatmaps = head.keypoint_heatmaps(features, positive_rois(samples))
        losses.update(keypoint_losses(head.keypoint_head, heatmaps, samples, ground_truths))
    return losses


def sampled_box_losses(
    head: StandardHead,
    features: Sequence[Tensor],
    proposals: Sequence[Tensor],
    ground_truths: Sequence[GroundTruth],
) -> tuple[list[Samples], dict[str, Tensor]]:
    """The regions to learn from, and the losses of their classes and boxes."""
    outputs = partial(head.box_outputs, features)
    samples = sample_regions(proposals, ground_truths, head.train_cfg, partial(hardness, outputs, head.bbox_head))
    result = outputs(rois_of([s.regions for s in samples]))
    return samples, region_losses(head.bbox_head, result, samples, ground_truths, head.train_cfg)[0]


@torch.no_grad()
def hardness(
    outputs: Callable[[Tensor], BoxOutputs], bbox_head: BoxHead, image: int, boxes: Tensor, labels: Tensor | None
) -> Tensor:
    """Classification losses (K,) of an image's regions (K, 4) under labels (K,), None for background.

    outputs: regions (K, 5) -> class logits and deltas.
    """
    logits, _ = outputs(torch.cat([boxes.new_full((len(boxes), 1), image), boxes], dim=1))
    if labels is None:
        labels = torch.full((len(boxes),), bbox_head.num_classes, device=boxes.device)
    return component(bbox_head.loss_cfg["cls"])(logits, labels, reduction="none")


def positive_rois(samples: Sequence[Samples]) -> Tensor:
    """The positive regions (K, 5) of all images."""
    return rois_of([s.boxes[s.positive] for s in samples])


def positive_labels(samples: Sequence[Samples], ground_truths: Sequence[GroundTruth]) -> Tensor:
    """The classes (K,) of the objects in the positive regions of all images."""
    return torch.cat([ground_truth.labels[s.matched] for s, ground_truth in zip(samples, ground_truths)])


def region_mask_losses(
    mask_head: MaskLearner,
    logits: Tensor,
    samples: Sequence[Samples],
    ground_truths: Sequence[GroundTruth],
    size: int | Sequence[int],
    soft: bool = False,
) -> dict[str, Tensor]:
    """`loss_mask` of the mask logits (K, C, h, w) of the positive regions. size, soft: of the target masks."""
    targets = mask_targets(samples, ground_truths, size, soft)
    return mask_losses(mask_head, logits, targets, positive_labels(samples, ground_truths))
