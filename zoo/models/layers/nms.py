"""Non-maximum suppression."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import nms

from zoo.errors import BuildError
from zoo.models.layers.soft_nms import soft_nms
from zoo.models.layers.tracing import first, recording
from zoo.structures import Detections

# From this many boxes on, MMCV suppresses group after group, so boxes outside the image meet no other group's.
APART_FROM = 10_000
# From this many boxes on, a CPU is faster group by group.
GROUPED_FROM = 2000
# From this many scores on, a CPU finds the best ones sooner than it sorts all.
LONG = 16_384
# So many of the best boxes are compared first; mostly enough survive, and the others need not be looked at.
FIRST = 4096


def ranked(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Scores (K,) from high to low, and their indices.

    Deliberately the plain sort that the reference uses: where scores saturate at 1.0, hundreds are equal, and
    which of them survive depends on the sorting algorithm.
    """
    return scores.sort(descending=True)


def best(scores: Tensor, count: int) -> Tensor:
    """Indices of the `count` highest of the scores (K,), best first, where K is larger.

    On a CPU a long list is sorted no further than that; of equal scores in it the first ones are taken.
    """
    if recording() or scores.device.type != "cpu" or len(scores) < LONG:
        return first(ranked(scores)[1], count)
    lowest = scores.topk(count, sorted=False).values.min()
    candidates = (~(scores < lowest)).nonzero().squeeze(1)  # NaN is in, as in a sorted list
    return candidates[scores[candidates].sort(descending=True, stable=True).indices[:count]]


def batched_nms(
    boxes: Tensor, scores: Tensor, groups: Tensor, cfg: Mapping[str, Any] | None, count: int = -1
) -> tuple[Tensor, Tensor]:
    """Suppress within groups (classes or pyramid levels), and keep the best `count` (all of them if not positive).

    boxes: (K, 4) xyxy. scores: (K,). groups: (K,) integers. cfg: `{type: nms, iou_threshold: 0.5, ...}`; None only
    sorts. Returns the kept indices, best first, and their scores (which soft-NMS lowers).
    """
    options = dict(cfg or {})
    kind = options.pop("type", "nms")
    if recording() and kind == "nms" and cfg is not None:
        return traced_nms(boxes, scores, groups, options, count)
    most = min(options.pop("max_num", len(boxes)), count if count > 0 else len(boxes))
    if cfg is None or len(boxes) == 0:
        kept, order = ranked(scores)
        return order[:most], kept[:most]
    agnostic = options.pop("class_agnostic", False)
    if kind == "soft_nms":
        keep, kept = soft_nms(boxes, scores, torch.zeros_like(groups) if agnostic else groups, **options)
        return keep[:most], kept[:most]
    if kind != "nms":
        raise BuildError(f"there is no suppression of type '{kind}'; known: nms, soft_nms")
    moved = boxes if agnostic else separate(boxes, groups)
    kept, order = ranked(scores)
    apart = groups[order] if not agnostic and worth_grouping(boxes) else None
    keep = order[first_survivors(moved[order], kept.to(moved.dtype), options["iou_threshold"], most, apart)]
    return keep, scores[keep]


def traced_nms(
    boxes: Tensor, scores: Tensor, groups: Tensor, options: Mapping[str, Any], count: int
) -> tuple[Tensor, Tensor]:
    """`batched_nms` for an exported graph: no step depends on how many boxes the example has, or whether it has any."""
    if not options.get("class_agnostic", False):
        beyond = torch.cat([boxes.flatten(), boxes.new_zeros(1)]).max() + 1
        boxes = boxes + (groups.to(boxes) * beyond)[:, None]
    limits = [limit for limit in (options.get("max_num", -1), count) if limit > 0]
    if limits and torch.jit.is_tracing():
        keep = FirstSurvivors.apply(boxes, scores, options["iou_threshold"], min(limits))
    else:
        keep = recorded_nms(boxes, scores, options["iou_threshold"])[: min(limits, default=None)]
    return keep, scores[keep]


def recorded_nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """`nms` for a program of torch.export, to which torchvision promises that two boxes survive: so two are added.

    They are the worst ones, and without area, so that they neither suppress another box nor are suppressed.
    """
    boxes = torch.cat([boxes, boxes.new_zeros(2, 4)])
    keep = nms(boxes, torch.cat([scores, scores.new_full((2,), -1.0)]), iou_threshold)
    return keep[keep < boxes.shape[0] - 2]


class FirstSurvivors(torch.autograd.Function):
    """NMS that stops at the `count`th survivor, which ONNX can say and torchvision's operator cannot."""

    @staticmethod
    def forward(_: Any, boxes: Tensor, scores: Tensor, iou_threshold: float, count: int) -> Tensor:
        """Indices of the first `count` survivors, best first. boxes: (K, 4) xyxy. scores: (K,)."""
        order = ranked(scores)[1]
        return order[first_survivors(boxes[order], scores[order], iou_threshold, count)]

    @staticmethod
    def symbolic(graph: Any, boxes: Any, scores: Any, iou_threshold: float, count: int) -> Any:
        """The same as a node of ONNX, whose boxes are (1, K, 4), scores (1, 1, K) and results (S, 3)."""
        limit, threshold = (
            graph.op("Constant", value_t=torch.tensor([value], dtype=kind))
            for value, kind in ((count, torch.int64), (iou_threshold, torch.float32))
        )
        first, both, last = (graph.op("Constant", value_t=torch.tensor(axes)) for axes in ([0], [0, 1], [2]))
        found = graph.op(
            "NonMaxSuppression",
            graph.op("Unsqueeze", boxes, first),
            graph.op("Unsqueeze", scores, both),
            limit,
            threshold,
        )
        return graph.op(
            "Squeeze", graph.op("Gather", found, last, axis_i=1), graph.op("Constant", value_t=torch.tensor([1]))
        )


def first_survivors(
    boxes: Tensor, scores: Tensor, iou_threshold: float, count: int, groups: Tensor | None = None
) -> Tensor:
    """Indices of the first `count` boxes that survive. boxes: (K, 4) xyxy, best first. scores: (K,), falling.

    A box's fate depends on better boxes only, so growing prefixes of the list are enough. groups: (K,), to go group by
    group; boxes of different groups must lie apart.
    """
    length = FIRST
    keep = survivors(boxes[:length], scores[:length], iou_threshold, groups)
    while len(keep) < count and length < len(boxes):
        length *= 4
        keep = survivors(boxes[:length], scores[:length], iou_threshold, groups)
    return keep[:count]


def survivors(boxes: Tensor, scores: Tensor, iou_threshold: float, groups: Tensor | None) -> Tensor:
    """Indices of the boxes that survive, best first; all at once without groups."""
    if groups is None:
        return nms(boxes, scores, iou_threshold)
    groups = groups[: len(boxes)]
    members = [(groups == group).nonzero().squeeze(1) for group in groups.unique().tolist()]
    kept = [index[nms(boxes[index], scores[index], iou_threshold)] for index in members]
    return torch.cat(kept).sort().values


def worth_grouping(boxes: Tensor) -> bool:
    """Whether to suppress group by group: many boxes, on a CPU, none outside the image on the left or at the top.

    A GPU compares all pairs at once; a CPU compares every survivor with all boxes behind it. Boxes outside the image
    may reach into the group before theirs, as in the reference.
    """
    return boxes.device.type == "cpu" and len(boxes) >= GROUPED_FROM and bool(boxes.min() >= 0)


def separate(boxes: Tensor, groups: Tensor) -> Tensor:
    """Boxes (K, 4) moved apart by group, so that boxes of different groups do not overlap.

    As in the reference they are moved in their own precision: with the 1203 classes of LVIS a float32 coordinate is
    rounded to an eighth of a pixel, and which boxes survive depends on it.
    """
    moved = boxes + (groups.to(boxes) * (boxes.max() + 1))[:, None]
    if len(boxes) < APART_FROM:
        return moved
    moved = moved.double()
    return moved + (groups * (moved.max() - moved.min() + 1))[:, None]


def suppress(
    boxes: Tensor, scores: Tensor, labels: Tensor, cfg: Mapping[str, Any] | None, max_per_img: int = -1
) -> Detections:
    """NMS within classes, then the best `max_per_img` (all of them if negative)."""
    if not recording() and len(boxes) == 0:
        return Detections(boxes, scores, labels)
    keep, kept_scores = batched_nms(boxes, scores, labels, cfg, max_per_img)
    return Detections(boxes[keep], kept_scores, labels[keep])


def multiclass_nms(
    boxes: Tensor,
    scores: Tensor,
    score_thr: float,
    cfg: Mapping[str, Any] | None,
    max_per_img: int,
    factors: Tensor | None = None,
) -> Detections:
    """Every (box, class) pair above a threshold competes within its class.

    boxes: (K, 4). scores: (K, C), foreground classes only. factors: (K,), of the scores; applied after the threshold.
    """
    index, labels = (scores > score_thr).nonzero(as_tuple=True)
    scores = scores[index, labels] if factors is None else scores[index, labels] * factors[index]
    return suppress(boxes[index], scores, labels, cfg, max_per_img)
