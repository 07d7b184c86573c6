"""Losses of DETR and Deformable DETR: a set is compared with a set (Carion et al., 2020, section 3.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torchvision.ops import box_convert

from zoo.errors import BuildError
from zoo.models.assigners.hungarian import extent
from zoo.models.box_ops import aligned_iou
from zoo.models.build import component
from zoo.models.criteria.protocols import TrainedHead
from zoo.models.losses.reduction import mean_over_processes
from zoo.models.targets import GroundTruth
from zoo.structures import ImageGeometry


class DetrHeadLike(TrainedHead, Protocol):
    """What these losses ask of a head."""

    sync_cls_avg_factor: bool
    use_sigmoid: bool


def detr_losses(
    head: DetrHeadLike,
    outputs: Sequence[Any],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """`loss_cls`, `loss_bbox` and `loss_iou` of the last decoder layer, and with a prefix those of the others.

    outputs: what the head's `forward` returned. "d0." is the first layer, "enc_" the encoder's proposals.
    """
    losses = by_layer([set_losses(head, x, b, geometries, ground_truths) for x, b in zip(outputs[0], outputs[1])])
    if len(outputs) > 2 and outputs[2] is not None:
        anything = [
            replace(ground_truth, labels=torch.zeros_like(ground_truth.labels)) for ground_truth in ground_truths
        ]
        proposals = set_losses(head, outputs[2][0], outputs[2][1], geometries, anything)
        losses.update({f"enc_{name}": value for name, value in proposals.items()})
    return losses


def by_layer(layers: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The losses of all decoder layers, those of the last one without a prefix, "d0." for the first one."""
    *before, last = layers
    return {**last, **{f"d{i}.{name}": value for i, layer in enumerate(before) for name, value in layer.items()}}


def set_losses(
    head: DetrHeadLike,
    logits: Tensor | Sequence[Tensor],
    boxes: Tensor | Sequence[Tensor],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """One layer's losses. Per image logits: (Q, C). boxes: (Q, 4) cxcywh as shares of the image."""
    index = match(head.train_cfg["assigner"], logits, boxes, geometries, ground_truths)
    return matched_losses(head, logits, boxes, index, geometries, ground_truths)


def matched_losses(
    head: DetrHeadLike,
    logits: Tensor | Sequence[Tensor],
    boxes: Tensor | Sequence[Tensor],
    index: Sequence[Tensor],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """The losses of queries whose objects are known. Per image index: (Q,), the object or a negative number."""
    result = matched(index, geometries, ground_truths)
    logits, boxes = torch.cat(tuple(logits)), torch.cat(tuple(boxes))[result.query]
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
    overlaps = aligned_iou(*(box_convert(x.detach(), "cxcywh", "xyxy") for x in (boxes, wanted)))
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


def match(
    assigner: Mapping[str, Any],
    logits: Tensor | Sequence[Tensor],
    boxes: Tensor | Sequence[Tensor],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> list[Tensor]:
    """Per image, for each query the index of its object or a negative number (Q,).

    assigner: description. logits: (N, Q, C). boxes: (N, Q, 4) cxcywh as shares of the images.
    """
    assign = component(assigner).assign
    return [assign(x, b, t, f.size).index for x, b, f, t in zip(logits, boxes, geometries, ground_truths)]


def matched(
    index: Sequence[Tensor], geometries: Sequence[ImageGeometry], ground_truths: Sequence[GroundTruth]
) -> Matched:
    """The pairs of query and object. index: what `match` returned."""
    parts, start = [], 0
    for own, geometry, ground_truth in zip(index, geometries, ground_truths):
        query = (own >= 0).nonzero().flatten()
        scale = extent(geometry.size, ground_truth.boxes).expand(len(query), 4)
        parts.append((query + start, scale, ground_truth.boxes[own[query]], ground_truth.labels[own[query]]))
        start += len(own)
    return Matched(*(torch.cat(x) for x in zip(*parts)))


def classification(head: DetrHeadLike) -> tuple[Any, float]:
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
