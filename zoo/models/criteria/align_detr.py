"""Losses of Align-DETR: scores that say how well boxes fit, and several queries per object (Cai et al., 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torchvision.ops import box_convert

from zoo.models.box_ops import aligned_iou
from zoo.models.build import component
from zoo.models.criteria.detr import Matched, box_losses, matched
from zoo.models.criteria.dino import denoising_losses
from zoo.models.criteria.protocols import TrainedHead
from zoo.models.losses.reduction import mean_over_processes
from zoo.models.targets import GroundTruth
from zoo.structures import ImageGeometry


class AlignDetrHeadLike(TrainedHead, Protocol):
    """What these losses ask of a head."""

    all_layers_num_gt_repeat: Sequence[int]
    alpha: float
    gamma: float
    sync_cls_avg_factor: bool
    tau: float
    use_sigmoid: bool


def align_detr_losses(
    head: AlignDetrHeadLike,
    outputs: Sequence[Any],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """The names of `dino_losses`."""
    return denoising_losses(head, outputs, geometries, ground_truths, repeated_losses, aligned_losses)


def repeated_losses(
    head: AlignDetrHeadLike,
    logits: Any,
    boxes: Any,
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
    layer: int,
) -> dict[str, Tensor]:
    """Losses of matched queries, as many per object as the layer asks for; the better one fits, the more it counts."""
    repeats = head.all_layers_num_gt_repeat[layer]
    assign = component(head.train_cfg["assigner"]).assign
    images = zip(logits, boxes, ground_truths, geometries)
    index = [assign(x, b, target, geometry.size, repeats).index for x, b, target, geometry in images]
    return aligned_losses(head, logits, boxes, index, geometries, ground_truths, ranked=True)


def aligned_losses(
    head: AlignDetrHeadLike,
    logits: Any,
    boxes: Any,
    index: Sequence[Tensor],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
    ranked: bool = False,
) -> dict[str, Tensor]:
    """Losses of queries whose objects are known. Per image index: (Q,), the object or a negative number.

    ranked: the queries of an object count less and less; then all losses are averages over objects.
    """
    result = matched(index, geometries, ground_truths)
    logits, boxes = torch.cat(tuple(logits)), torch.cat(tuple(boxes))[result.query]
    fit = aligned_scores(head, logits, boxes, result)
    weight = rank_weights(fit, objects_of(index), head.tau) if ranked else torch.ones_like(fit)
    count = sum(len(x) for x in ground_truths) if ranked else len(fit)
    positives = logits.new_full((), float(count))
    average = mean_over_processes(positives) if head.sync_cls_avg_factor else positives
    wanted = box_convert(result.boxes / result.scale, "xyxy", "cxcywh")
    own = (result.query, result.labels)
    targets = torch.zeros_like(logits).index_put(own, fit * weight)
    weights = logits.sigmoid().pow(head.gamma).index_put(own, torch.ones_like(fit))
    return {
        "loss_cls": component(head.loss_cfg["cls"])(logits, targets, weights, average.clamp(min=1)),
        **box_losses(head, boxes, wanted, result.scale, mean_over_processes(positives).clamp(min=1), weight),
    }


def aligned_scores(head: AlignDetrHeadLike, logits: Tensor, boxes: Tensor, result: Matched) -> Tensor:
    """What matched queries should score (K,): between their score and their overlap.

    logits: (Q, C), of all queries. boxes: (K, 4) cxcywh.
    """
    overlaps = aligned_iou(box_convert(boxes, "cxcywh", "xyxy") * result.scale, result.boxes)
    score = logits.sigmoid()[result.query, result.labels]
    return (score**head.alpha * overlaps ** (1 - head.alpha)).clamp(min=0.01).detach()


def objects_of(index: Sequence[Tensor]) -> Tensor:
    """The matched queries' objects (K,), numbered through the batch. index: per image (Q,)."""
    start, parts = 0, []
    for own in index:
        parts.append(own[own >= 0] + start)
        start += int(own.max()) + 1 if len(own) else 0
    return torch.cat(parts)


def rank_weights(fit: Tensor, objects: Tensor, tau: float) -> Tensor:
    """exp(-rank / tau) of each query (K,) among those of its object (K,), best fit first."""
    weights = torch.zeros_like(fit)
    for number in objects.unique():
        own = (objects == number).nonzero().flatten()
        order = own[fit[own].sort(descending=True)[1]]
        weights[order] = torch.exp(-torch.arange(len(own), device=fit.device) / tau)
    return weights
