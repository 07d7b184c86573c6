"""Losses of DDQ: of distinct queries, of denoising, and of dense queries beside them (Zhang et al., 2023)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from zoo.models.assigners.costs import BBoxL1Cost, FocalLossCost, IoUCost
from zoo.models.assigners.hungarian import cheapest, extent
from zoo.models.box_ops import aligned_iou, box_convert
from zoo.models.criteria.detr import Layer, by_image, by_layer, matched_losses, set_losses
from zoo.models.criteria.dino import prefixed, restored_losses
from zoo.models.criteria.protocols import TrainedHead
from zoo.models.layers.transfer import on_device, on_host
from zoo.models.losses.focal import QualityFocalLoss
from zoo.models.losses.iou import GIoULoss
from zoo.models.losses.reduction import mean_over_processes
from zoo.models.query_heads.denoising import Denoising
from zoo.models.targets import GroundTruth, Pairs
from zoo.structures import ImageGeometry

Pair = tuple[Tensor, Tensor]
PerImage = Tensor | list[Tensor]
# As `ddq_losses` says.
DdqOutputs = tuple[Tensor, Tensor, Mapping[str, Pair], Denoising, Sequence[Tensor], Pair]
ALPHA, BETA = 1, 6
"""Powers of score and overlap in how well a dense query fits (Feng et al., TOOD, 2021)."""


class DdqHeadLike(TrainedHead, Protocol):
    """What these losses ask of a head."""

    aux_num_pos: int
    sync_cls_avg_factor: bool
    use_sigmoid: bool


def ddq_losses(
    head: DdqHeadLike, outputs: DdqOutputs, geometries: Sequence[ImageGeometry], ground_truths: Sequence[GroundTruth]
) -> dict[str, Tensor]:
    """The names of `dino_losses`; "0_aux_" and so on, and "aux_enc_": of the dense queries and proposals.

    outputs: logits and boxes of denoising and distinct queries, the proposals by name, the denoising queries,
    the distinct queries that stayed after each layer, and logits and boxes of the dense queries.
    """
    logits, boxes, proposals, noise, stayed, dense = outputs
    count = noise.count
    layers = zip(logits[:, :, count:], boxes[:, :, count:], [None, *indices(stayed)])
    distinct = [*(remaining(*layer) for layer in layers), proposals["distinct"]]
    *own, encoder = set_losses(head, [Layer(x, b, ground_truths) for x, b in distinct], geometries)
    losses = by_layer(own) | prefixed("enc_", encoder)
    noisy = head, logits[:, :, :count], boxes[:, :, :count], noise
    losses |= restored_losses(*noisy, matched_losses, geometries, ground_truths)
    *own, encoder = dense_losses([*zip(*dense), proposals["dense"]], geometries, ground_truths, head.aux_num_pos)
    for i, layer in enumerate(own):
        losses |= prefixed(f"{i}_aux_", layer)
    return losses | prefixed("aux_enc_", encoder)


def indices(stayed: Sequence[Tensor]) -> list[list[Tensor]]:
    """Per layer and image the queries that stayed (K,); a GPU is waited for once. stayed: per layer (N, Q) bool."""
    if not stayed:
        return []
    device = stayed[0].device
    return [on_device([own.nonzero().flatten() for own in layer], device) for layer in on_host(stayed)]


def remaining(logits: Tensor, boxes: Tensor, stayed: Sequence[Tensor] | None) -> tuple[PerImage, PerImage]:
    """A layer's queries that stayed, per image; all in the first layer. stayed: per image their indices."""
    if stayed is None:
        return logits, boxes
    return [x[keep] for x, keep in zip(logits, stayed)], [x[keep] for x, keep in zip(boxes, stayed)]


def dense_losses(
    layers: Sequence[tuple[Tensor, Tensor]],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
    count: int,
) -> list[dict[str, Tensor]]:
    """`aux_loss_cls` and `aux_loss_bbox` of each layer's dense queries, `count` of which learn from each object.

    Of each layer logits: (N, Q, C). boxes: (N, Q, 4) cxcywh as shares of the images.
    """
    images = [image for x, b in layers for image in zip(x.sigmoid(), b, geometries, ground_truths)]
    pairs = cheapest([dense_cost(*image) for image in images], [count] * len(images))
    parts = [image_losses(*image, own) for image, own in zip(images, pairs)]
    return [layer_losses(layer) for layer in by_image(parts, len(geometries))]


def layer_losses(images: Sequence[tuple[Tensor, Tensor, Tensor]]) -> dict[str, Tensor]:
    """A layer's losses, from what `image_losses` returned for each image."""
    loss_cls, loss_bbox, fit = (torch.stack(x) for x in zip(*images))
    average = mean_over_processes(fit.sum()).clamp(min=1)
    return {"aux_loss_cls": (loss_cls / average).sum(), "aux_loss_bbox": (loss_bbox / average).sum()}


def image_losses(
    scores: Tensor, boxes: Tensor, geometry: ImageGeometry, ground_truth: GroundTruth, pairs: Pairs
) -> tuple[Tensor, Tensor, Tensor]:
    """Sums of one image's losses, and of how well its queries should fit. scores: (Q, C)."""
    if len(ground_truth) == 0:  # as in the authors' code: nothing is learned here, not even the background
        nothing = scores.sum() * 0
        return nothing, boxes.sum() * 0, nothing.detach()
    pixels = box_convert(boxes, "cxcywh", "xyxy") * extent(geometry.size, boxes)
    query, objects = pairs
    fit = normalized_fit(scores.detach(), pixels.detach(), query, objects, ground_truth)
    labels = torch.full((len(scores),), scores.shape[1], device=scores.device)
    labels[query] = ground_truth.labels[objects]
    quality = scores.new_zeros(len(scores)).index_put((query,), fit)
    loss_cls = QualityFocalLoss(activated=True, reduction="sum")(scores, (labels, quality))
    loss_bbox = GIoULoss(loss_weight=2.0)(pixels[query], ground_truth.boxes[objects], fit, 1.0)
    return loss_cls, loss_bbox, fit.sum()


@torch.no_grad()
def dense_cost(scores: Tensor, boxes: Tensor, geometry: ImageGeometry, ground_truth: GroundTruth) -> Tensor:
    """What it costs to match each dense query with each object, (Q, M). boxes: (Q, 4) cxcywh as shares."""
    scale = extent(geometry.size, boxes)
    # The authors' code takes scores for logits here.
    cost = FocalLossCost(weight=2.0)(scores, ground_truth.labels)
    cost = cost + BBoxL1Cost(weight=5.0)(boxes, ground_truth.boxes / scale)
    return cost + IoUCost("giou", weight=2.0)(box_convert(boxes, "cxcywh", "xyxy") * scale, ground_truth.boxes)


def normalized_fit(scores: Tensor, pixels: Tensor, query: Tensor, objects: Tensor, ground_truth: GroundTruth) -> Tensor:
    """How well matched queries fit (K,): the best one of an object as well as its best overlap says."""
    overlaps = aligned_iou(pixels[query], ground_truth.boxes[objects])
    fit = scores[query, ground_truth.labels[objects]] ** ALPHA * overlaps**BETA
    best_fit, best = (best_of(x, objects, len(ground_truth)) for x in (fit, overlaps))
    return fit / (best_fit + 1e-7) * best


def best_of(values: Tensor, objects: Tensor, count: int) -> Tensor:
    """For each of K values, none of them negative, the largest of its object, of which there are `count` (K,)."""
    return values.new_zeros(count).scatter_reduce(0, objects, values, "amax")[objects]
