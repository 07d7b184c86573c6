"""Non-maximum suppression: within groups, within classes, and of every (box, class) pair."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from zoo.errors import BuildError
from zoo.models.box_ops import aligned_iou
from zoo.models.layers.cpu_choices import GROUPED_NMS_FROM
from zoo.models.layers.nms_export import traced_nms
from zoo.models.layers.ranking import ranked
from zoo.models.layers.soft_nms import soft_nms
from zoo.models.layers.survivors import first_survivors
from zoo.models.layers.tracing import first, recording
from zoo.structures import Detections

# From this many boxes on, MMCV suppresses group after group, so boxes outside the image meet no other group's.
APART_FROM = 10_000

MANY_PAIRS = 1_000_000  # more are not compared beforehand


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
    threshold = options["iou_threshold"]
    apart = groups[order] if not agnostic and never_meet(boxes, moved, groups, threshold) else None
    keep = order[first_survivors(moved[order], kept.to(moved.dtype), threshold, most, apart)]
    return keep, scores[keep]


def never_meet(boxes: Tensor, moved: Tensor, groups: Tensor, iou_threshold: float) -> bool:
    """Whether no two boxes of different groups suppress each other in `moved`, where `separate` has put them.

    Groups lie the largest coordinate plus 1 apart, so two boxes overlap only where the better part of one lies beyond
    -1, on the left and at the top at once, and that of the other at the far end. There are few such pairs, if any, and
    they are compared. `slack`: what rounding moves edges by. Only asked on a CPU: a GPU compares all pairs at once.
    """
    if boxes.device.type != "cpu" or len(boxes) < GROUPED_NMS_FROM:
        return False
    step = float(boxes.max()) + 1
    if len(boxes) >= APART_FROM or not step > 1:
        return step > 1
    needed = iou_threshold * (boxes[:, 2:] - boxes[:, :2]).clamp(min=0)
    slack = 4 * torch.finfo(boxes.dtype).eps * step * (int(groups.max()) + 2)
    early = (boxes[:, :2] + needed < slack - 1).all(dim=1).nonzero()
    late = (boxes[:, 2:] - needed > step + float(boxes.min()) - slack).all(dim=1).nonzero().T
    if early.numel() * late.numel() > MANY_PAIRS:
        return False
    overlaps = aligned_iou(moved[early], moved[late]) * (groups[early] > groups[late])
    return not bool((overlaps > 0.99 * iou_threshold).any())


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
