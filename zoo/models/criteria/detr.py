"""Losses of DETR and Deformable DETR: a set is compared with a set (Carion et al., 2020, section 3.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from zoo.errors import BuildError
from zoo.models.assigners.hungarian import cheapest, extent
from zoo.models.box_ops import aligned_iou, box_convert
from zoo.models.build import component
from zoo.models.criteria.protocols import TrainedHead
from zoo.models.losses.base import Loss
from zoo.models.losses.reduction import mean_over_processes
from zoo.models.targets import GroundTruth, Pairs
from zoo.structures import ImageGeometry

Part = TypeVar("Part")
Layers = Tensor | Sequence[Tensor]
# Class logits (N, Q, C) and boxes (N, Q, 4) of each decoder layer, and those of the encoder's proposals.
DetrOutputs = tuple[Layers, Layers] | tuple[Layers, Layers, tuple[Tensor, Tensor] | None]


class DetrHeadLike(TrainedHead, Protocol):
    """What these losses ask of a head."""

    sync_cls_avg_factor: bool
    use_sigmoid: bool


def detr_losses(
    head: DetrHeadLike,
    outputs: DetrOutputs,
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """`loss_cls`, `loss_bbox` and `loss_iou` of the last decoder layer, and with a prefix those of the others.

    outputs: what the head's `forward` returned. "d0." is the first layer, "enc_" the encoder's proposals.
    """
    layers = [Layer(x, b, ground_truths) for x, b in zip(outputs[0], outputs[1])]
    if len(outputs) > 2 and outputs[2] is not None:
        anything = [replace(target, labels=torch.zeros_like(target.labels)) for target in ground_truths]
        *own, proposals = set_losses(head, [*layers, Layer(outputs[2][0], outputs[2][1], anything)], geometries)
        return {**by_layer(own), **{f"enc_{name}": value for name, value in proposals.items()}}
    return by_layer(set_losses(head, layers, geometries))


class Layer(NamedTuple):
    """What a layer predicts for a batch, and what it learns from.

    Per image logits: (Q, C). boxes: (Q, 4) cxcywh as shares of the image.
    """

    logits: Tensor | Sequence[Tensor]
    boxes: Tensor | Sequence[Tensor]
    ground_truths: Sequence[GroundTruth]


def by_layer(layers: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The losses of all decoder layers, those of the last one without a prefix, "d0." for the first one."""
    *before, last = layers
    return {**last, **{f"d{i}.{name}": value for i, layer in enumerate(before) for name, value in layer.items()}}


def set_losses(
    head: DetrHeadLike, layers: Sequence[Layer], geometries: Sequence[ImageGeometry]
) -> list[dict[str, Tensor]]:
    """The losses of each layer, all of which are matched at once."""
    pairs = match([head.train_cfg["assigner"]] * len(layers), layers, geometries)
    return [matched_losses(head, layer, own, geometries) for layer, own in zip(layers, pairs)]


def matched_losses(
    head: DetrHeadLike, layer: Layer, pairs: Sequence[Pairs], geometries: Sequence[ImageGeometry]
) -> dict[str, Tensor]:
    """The losses of a layer whose queries' objects are known. pairs: one for each image."""
    result = matched(pairs, [len(x) for x in layer.logits], geometries, layer.ground_truths)
    logits, boxes = torch.cat(tuple(layer.logits)), torch.cat(tuple(layer.boxes))[result.query]
    labels = result.spread(len(logits), head.num_classes)
    loss_cls, background = classification(head)
    positives = logits.new_full((), float(len(result.query)))
    average = positives + (len(labels) - positives) * background
    if head.sync_cls_avg_factor:
        average = mean_over_processes(average)
    positives = mean_over_processes(positives).clamp(min=1)
    wanted = box_convert(result.boxes / result.scale, "xyxy", "cxcywh")
    target = (labels, quality(result, boxes, wanted, len(logits))) if by_quality(head) else labels
    return {
        "loss_cls": loss_cls(logits, target, None, average.clamp(min=1)),
        **box_losses(head, boxes, wanted, result.scale, positives),
    }


def box_losses(
    head: DetrHeadLike, boxes: Tensor, wanted: Tensor, scale: Tensor, average: Tensor, weight: Tensor | None = None
) -> dict[str, Tensor]:
    """`loss_bbox` and `loss_iou` of K pairs. boxes, wanted: (K, 4) cxcywh as shares of images of (w, h, w, h) `scale`.

    weight: (K,).
    """
    ours, theirs = (box_convert(x, "cxcywh", "xyxy") * scale for x in (boxes, wanted))
    wide = None if weight is None else weight[:, None].expand(-1, 4)
    return {
        "loss_bbox": component(head.loss_cfg["bbox"])(boxes, wanted, wide, average),
        "loss_iou": component(head.loss_cfg["iou"])(ours, theirs, weight, average),
    }


def by_quality(head: DetrHeadLike) -> bool:
    """Whether classes learn how well the boxes fit."""
    return bool(head.loss_cfg["cls"]["type"] == "QualityFocalLoss")


def quality(result: Matched, boxes: Tensor, wanted: Tensor, queries: int) -> Tensor:
    """How well the boxes of all queries fit, (Q,), 0 for those without an object. boxes, wanted: (K, 4) cxcywh."""
    overlaps = aligned_iou(box_convert(boxes.detach(), "cxcywh", "xyxy"), box_convert(wanted, "cxcywh", "xyxy"))
    return overlaps.new_zeros(queries).index_put((result.query,), overlaps)


class Matched(NamedTuple):
    """The queries of a batch that have an object.

    query: (K,), counted over all images. scale: (K, 4), w, h, w, h of their images. boxes: (K, 4) xyxy in pixels
    and labels: (K,), of their objects.
    """

    query: Tensor
    scale: Tensor
    boxes: Tensor
    labels: Tensor

    def spread(self, queries: int, background: int) -> Tensor:
        """Labels of all queries (Q,), `background` for those without an object."""
        labels = self.labels.new_full((queries,), background)
        labels[self.query] = self.labels
        return labels


@torch.no_grad()
def match(
    assigners: Sequence[Mapping[str, Any]],
    layers: Sequence[Layer],
    geometries: Sequence[ImageGeometry],
    repeats: Sequence[int] | None = None,
) -> list[list[Pairs]]:
    """Per layer and image the queries that get an object; a GPU is waited for once.

    assigners: each layer's description. repeats: how many queries an object gets in each layer.
    """
    work = [(component(assigner).cost, layer) for assigner, layer in zip(assigners, layers)]
    costs = [cost(x, b, target, g.size) for cost, layer in work for x, b, target, g in zip(*layer, geometries)]
    return by_image(cheapest(costs, repeats and [n for n in repeats for _ in geometries]), len(geometries))


def by_image(parts: Sequence[Part], images: int) -> list[list[Part]]:
    """The parts of all images of the first layer, of the second one, and so on."""
    return [list(parts[i : i + images]) for i in range(0, len(parts), images)]


def matched(
    pairs: Sequence[Pairs],
    queries: Sequence[int],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> Matched:
    """The pairs of query and object of a batch, from those of each image. queries: how many each image has."""
    parts, start = [], 0
    for own, count, geometry, target in zip(pairs, queries, geometries, ground_truths):
        scale = extent(geometry.size, target.boxes).expand(len(own.query), 4)
        parts.append((own.query + start, scale, target.boxes[own.objects], target.labels[own.objects]))
        start += count
    return Matched(*(torch.cat(x) for x in zip(*parts)))


def classification(head: DetrHeadLike) -> tuple[Loss, float]:
    """The classification loss, and how much a query without object counts in its average.

    DETR's softmax weighs "no object" by `bg_cls_weight`; sigmoid losses have no such class.
    """
    cfg = dict(head.loss_cfg["cls"])
    weight = cfg.pop("class_weight", None)
    background = cfg.pop("bg_cls_weight", weight)
    if weight is None or head.use_sigmoid:
        return component(cfg), 0.0
    alike = isinstance(weight, (int, float))
    weights = [weight] * head.num_classes + [background] if alike else written(weight)
    return component({**cfg, "class_weight": weights}), weights[-1]


def written(text: str | Sequence[float]) -> list[float]:
    """A weight for every class, also from "tensor([1., 0.1])".

    MMDetection put such a tensor into the configuration that it saved with a trained DETR.
    """
    if not isinstance(text, str):
        return list(text)
    inside = re.fullmatch(r"tensor\(\[([-+.\deE,\s]*)\]\)", text)
    if inside is None:
        raise BuildError(f"class_weight is a number or the text of a tensor, not '{text:.80}'")
    return [float(number) for number in inside[1].split(",")]
