"""Losses of DDQ: of distinct queries, of denoising, and of dense queries beside them (Zhang et al., 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torchvision.ops import box_convert

from zoo.models.assigners.costs import BBoxL1Cost, FocalLossCost, IoUCost
from zoo.models.assigners.hungarian import extent
from zoo.models.box_ops import aligned_iou
from zoo.models.criteria.detr import by_layer, matched_losses, set_losses
from zoo.models.criteria.dino import prefixed
from zoo.models.criteria.protocols import TrainedHead
from zoo.models.losses.focal import QualityFocalLoss
from zoo.models.losses.iou import GIoULoss
from zoo.models.losses.reduction import mean_over_processes
from zoo.models.targets import GroundTruth
from zoo.structures import ImageGeometry

ALPHA, BETA = 1, 6
"""Powers of score and overlap in how well a dense query fits (Feng et al., TOOD, 2021)."""


class DdqHeadLike(TrainedHead, Protocol):
    """What these losses ask of a head."""

    aux_num_pos: int
    sync_cls_avg_factor: bool
    use_sigmoid: bool


def ddq_losses(
    head: DdqHeadLike, outputs: Sequence[Any], geometries: Sequence[ImageGeometry], ground_truths: Sequence[GroundTruth]
) -> dict[str, Tensor]:
    """The names of `dino_losses`; "0_aux_" and so on, and "aux_enc_": of the dense queries and proposals.

    outputs: logits and boxes of denoising and distinct queries, the proposals by name, the denoising queries' objects,
    the distinct queries that stayed after each layer, and logits and boxes of the dense queries.
    """
    logits, boxes, proposals, index, stayed, dense = outputs
    count, positives = len(index[0]), head.aux_num_pos
    layers = zip(logits[:, :, count:], boxes[:, :, count:], [None, *stayed])
    distinct = [remaining(*layer) for layer in layers]
    losses = by_layer([set_losses(head, x, b, geometries, ground_truths) for x, b in distinct])
    x, b = proposals["distinct"]
    losses |= prefixed("enc_", set_losses(head, x, b, geometries, ground_truths))
    noisy = zip(logits[:, :, :count], boxes[:, :, :count])
    restored = [matched_losses(head, x, b, index, geometries, ground_truths) for x, b in noisy]
    losses |= by_layer([prefixed("dn_", layer) for layer in restored])
    for i, (x, b) in enumerate(zip(*dense)):
        losses |= prefixed(f"{i}_aux_", dense_losses(x, b, geometries, ground_truths, positives))
    x, b = proposals["dense"]
    return losses | prefixed("aux_enc_", dense_losses(x, b, geometries, ground_truths, positives))


def remaining(logits: Tensor, boxes: Tensor, stayed: Tensor | None) -> tuple[Any, Any]:
    """A layer's queries that stayed, per image; all in the first layer."""
    if stayed is None:
        return logits, boxes
    return [x[keep] for x, keep in zip(logits, stayed)], [x[keep] for x, keep in zip(boxes, stayed)]


def dense_losses(
    logits: Tensor,
    boxes: Tensor,
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
    count: int,
) -> dict[str, Tensor]:
    """`aux_loss_cls` and `aux_loss_bbox` of dense queries, `count` of which learn from each object.

    logits: (N, Q, C). boxes: (N, Q, 4) cxcywh as shares of the images.
    """
    images = zip(logits.sigmoid(), boxes, geometries, ground_truths)
    parts = [image_losses(*image, count) for image in images]
    loss_cls, loss_bbox, fit = (torch.stack(x) for x in zip(*parts))
    average = mean_over_processes(fit.sum()).clamp(min=1)
    return {"aux_loss_cls": (loss_cls / average).sum(), "aux_loss_bbox": (loss_bbox / average).sum()}


def image_losses(
    scores: Tensor, boxes: Tensor, geometry: ImageGeometry, ground_truth: GroundTruth, count: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Sums of one image's losses, and of how well its queries should fit. scores: (Q, C)."""
    if len(ground_truth) == 0:  # as in the authors' code: nothing is learned here, not even the background
        nothing = scores.sum() * 0
        return nothing, boxes.sum() * 0, nothing.detach()
    pixels = box_convert(boxes, "cxcywh", "xyxy") * extent(geometry.size, boxes)
    query, objects = several(scores.detach(), boxes.detach(), pixels.detach(), geometry, ground_truth, count)
    fit = normalized_fit(scores.detach(), pixels.detach(), query, objects, ground_truth)
    labels = torch.full((len(scores),), scores.shape[1], device=scores.device)
    labels[query] = ground_truth.labels[objects]
    quality = scores.new_zeros(len(scores)).index_put((query,), fit)
    loss_cls = QualityFocalLoss(activated=True, reduction="sum")(scores, (labels, quality))
    loss_bbox = GIoULoss(loss_weight=2.0)(pixels[query], ground_truth.boxes[objects], fit, 1.0)
    return loss_cls, loss_bbox, fit.sum()


def several(
    scores: Tensor, boxes: Tensor, pixels: Tensor, geometry: ImageGeometry, ground_truth: GroundTruth, count: int
) -> tuple[Tensor, Tensor]:
    """Queries (K,) and their objects (K,): `count` queries for each, at the lowest total cost.

    boxes: (Q, 4) cxcywh as shares, pixels: the same, xyxy in pixels.
    """
    # The authors' code takes scores for logits here.
    cost = FocalLossCost(weight=2.0)(scores, ground_truth.labels)
    cost = cost + BBoxL1Cost(weight=5.0)(boxes, ground_truth.boxes / extent(geometry.size, boxes))
    cost = cost + IoUCost("giou", weight=2.0)(pixels, ground_truth.boxes)
    repeats = min(count, len(cost) // len(ground_truth))
    rows, columns = linear_sum_assignment(cost.repeat_interleave(repeats, dim=1).cpu().numpy())
    return torch.from_numpy(rows).to(boxes.device), torch.from_numpy(columns).to(boxes.device) // repeats


def normalized_fit(scores: Tensor, pixels: Tensor, query: Tensor, objects: Tensor, ground_truth: GroundTruth) -> Tensor:
    """How well matched queries fit (K,): the best one of an object as well as its best overlap says."""
    overlaps = aligned_iou(pixels[query], ground_truth.boxes[objects])
    fit = scores[query, ground_truth.labels[objects]] ** ALPHA * overlaps**BETA
    result = torch.zeros_like(fit)
    for number in objects.unique():
        own = objects == number
        result[own] = fit[own] / (fit[own].max() + 1e-7) * overlaps[own].max()
    return result
