"""Losses of PointRend: masks are learned at uncertain points (Kirillov et al., 2020, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from zoo.models.build import component
from zoo.models.criteria.maskformer import uncertain_points
from zoo.models.criteria.protocols import MaskHead, StandardHead
from zoo.models.criteria.roi_sampling import mask_losses, mask_targets
from zoo.models.criteria.standard_roi import positive_labels, positive_rois, sampled_box_losses
from zoo.models.layers.points import sample_regions
from zoo.models.targets import GroundTruth, Samples
from zoo.structures import ImageGeometry


class PointRendHeadLike(StandardHead, Protocol):
    """What these losses ask of a head."""

    mask_head: MaskHead
    point_head: MaskHead

    def point_logits(self, features: Sequence[Tensor], rois: Tensor, coarse: Tensor, points: Tensor, /) -> Tensor:
        """Class logits (K, num_classes, P) at points (K, P, 2) of regions (K, 5). coarse: (K, num_classes, h, w)."""
        ...


def point_rend_losses(
    head: PointRendHeadLike,
    features: Sequence[Tensor],
    proposals: Sequence[Tensor],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """`loss_cls`, `loss_bbox`, `loss_mask` of the coarse masks and `loss_point` of points refined in them."""
    samples, losses = sampled_box_losses(head, features, proposals, ground_truths)
    labels = positive_labels(samples, ground_truths)
    rois, cfg = positive_rois(samples), head.train_cfg
    coarse = head.mask_logits(features, rois)
    losses.update(mask_losses(head.mask_head, coarse, mask_targets(samples, ground_truths, cfg["mask_size"]), labels))
    if len(rois) == 0:
        return {**losses, "loss_point": coarse.sum() * 0}
    with torch.no_grad():
        own = head.mask_head.of_class(coarse, labels)
        points = uncertain_points(own, cfg["num_points"], cfg["oversample_ratio"], cfg["importance_sample_ratio"])
    logits = head.point_logits(features, rois, coarse, points)
    kinds = torch.zeros_like(labels) if head.point_head.class_agnostic else labels
    loss = component(head.point_head.loss_cfg["point"])
    return {**losses, "loss_point": loss.masks(logits, point_targets(samples, ground_truths, points), kinds)}


def point_targets(samples: Sequence[Samples], ground_truths: Sequence[GroundTruth], points: Tensor) -> Tensor:
    """The objects' masks (K, P) at points (K, P, 2) of the positive regions, bilinear."""
    result, start = [], 0
    for s, ground_truth in zip(samples, ground_truths):
        own = points[start : start + len(s.positive)]
        start += len(s.positive)
        if ground_truth.masks is None or len(s.positive) == 0:
            continue
        index = torch.arange(len(s.positive), device=own.device)[:, None].to(own)
        rois = torch.cat([index, s.boxes[s.positive]], dim=1)
        result.append(sample_regions(ground_truth.masks[s.matched][:, None].to(own), rois, own, 1.0)[:, 0])
    return torch.cat(result) if result else points.new_zeros(0, points.shape[1])
