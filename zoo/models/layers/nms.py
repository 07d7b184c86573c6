"""Non-maximum suppression: within groups, within classes, and of every (box, class) pair."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from zoo.errors import BuildError
from zoo.models.layers.cpu_choices import GROUPED_NMS_FROM
from zoo.models.layers.nms_export import traced_nms
from zoo.models.layers.ranking import ranked
from zoo.models.layers.soft_nms import soft_nms
from zoo.models.layers.survivors import first_survivors
from zoo.models.layers.tracing import first, recording
from zoo.structures import Detections

# From this many boxes on, MMCV suppresses group after group, so boxes outside the image meet no other group's.
APART_FROM = 10_000


def batched_nms(
    boxes: Tensor, scores: Tensor, groups: Tensor, cfg: Mapping[str, Any] | None, count: int = -1
) -> tuple[Tensor, Tensor]:
    """Suppress within groups (classes or pyramid levels), and keep the best `count` (all of them if not positive).

    boxes: (K, 4) xyxy. scores: (K,). groups: (K,) integers. cfg: `{type: nms, iou_threshold: 0.5, ...}`; None only
    sorts. Returns the kept indices, best first, and their scores (which soft-NMS lowers).
    """
    options = dict(cfg or {})
    kind = options.pop("type", "nms")
    if recording() and cfg is None:
        kept, order = ranked(scores)
        return (first(order, count), first(kept, count)) if count > 0 else (order, kept)
    if recording() and kind == "nms":
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


def worth_grouping(boxes: Tensor) -> bool:
    """Whether to suppress group by group: many boxes, on a CPU, none outside the image on the left or at the top.

    A GPU compares all pairs at once; a CPU compares every survivor with all boxes behind it. Boxes outside the image
    may reach into the group before theirs, as in the reference.
    """
    return boxes.device.type == "cpu" and len(boxes) >= GROUPED_NMS_FROM and bool(boxes.min() >= 0)


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
