"""Losses of Align-DETR: scores that say how well boxes fit, and several queries per object (Cai et al., 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Protocol

import torch
from torch import Tensor

from zoo.models.box_ops import aligned_iou, box_convert
from zoo.models.build import component
from zoo.models.criteria.detr import Layer, Matched, box_losses, match, matched
from zoo.models.criteria.dino import DinoOutputs, denoising_losses
from zoo.models.criteria.protocols import TrainedHead
from zoo.models.losses.reduction import mean_over_processes
from zoo.models.targets import GroundTruth, Pairs
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
    outputs: DinoOutputs,
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """The names of `dino_losses`."""
    return denoising_losses(head, outputs, geometries, ground_truths, repeated_losses, aligned_losses)


def repeated_losses(
    head: AlignDetrHeadLike, layers: Sequence[Layer], geometries: Sequence[ImageGeometry]
) -> list[dict[str, Tensor]]:
    """Losses of matched queries, as many per object as a layer asks for; the better one fits, the more it counts."""
    *repeats, last = head.all_layers_num_gt_repeat  # the encoder's is the last
    pairs = match([head.train_cfg["assigner"]] * len(layers), layers, geometries, [*repeats[: len(layers) - 1], last])
    return [aligned_losses(head, layer, own, geometries, ranked=True) for layer, own in zip(layers, pairs)]


def aligned_losses(
    head: AlignDetrHeadLike,
    layer: Layer,
    pairs: Sequence[Pairs],
    geometries: Sequence[ImageGeometry],
    ranked: bool = False,
) -> dict[str, Tensor]:
    """Losses of a layer whose queries' objects are known. pairs: one for each image.

    ranked: the queries of an object count less and less; then all losses are averages over objects.
    """
    result = matched(pairs, [len(x) for x in layer.logits], geometries, layer.ground_truths)
    logits, boxes = torch.cat(tuple(layer.logits)), torch.cat(tuple(layer.boxes))[result.query]
    fit = aligned_scores(head, logits, boxes, result)
    counts = [len(x) for x in layer.ground_truths]
    weight = rank_weights(fit, objects_of(pairs, counts), head.tau) if ranked else torch.ones_like(fit)
    count = sum(counts) if ranked else len(fit)
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


def objects_of(pairs: Sequence[Pairs], counts: Sequence[int]) -> Tensor:
    """The matched queries' objects (K,), numbered through the batch. counts: how many each image has."""
    return torch.cat([own.objects + start for own, start in zip(pairs, accumulate(counts, initial=0))])


def rank_weights(fit: Tensor, objects: Tensor, tau: float) -> Tensor:
    """exp(-rank / tau) of each query (K,) among those of its object (K,), best fit first."""
    best_first = fit.sort(descending=True)[1]
    own, order = objects[best_first].sort(stable=True)
    rank = torch.arange(len(fit), device=fit.device) - torch.searchsorted(own, own)
    return torch.zeros_like(fit).index_put((best_first[order],), torch.exp(-rank.to(fit.dtype) / tau))
