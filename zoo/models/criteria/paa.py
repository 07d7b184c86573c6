"""Losses of PAA: anchors are split into positives and negatives by their own losses (Kim and Lee, 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from zoo.errors import UsageError
from zoo.models.box_ops import aligned_iou
from zoo.models.build import component
from zoo.models.criteria.anchor_head import AnchorTargets, anchor_targets, flatten
from zoo.models.criteria.mixture import two_normals
from zoo.models.criteria.protocols import AnchorHead
from zoo.models.layers.transfer import on_device, on_host
from zoo.models.targets import GroundTruth
from zoo.structures import ImageGeometry

EPSILON = 1e-12


class PaaHeadLike(AnchorHead, Protocol):
    """What these losses ask of a head."""

    covariance_type: str
    topk: int


def paa_losses(
    head: PaaHeadLike,
    outputs: Sequence[Sequence[Tensor]],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """`loss_cls`, `loss_bbox` weighted by overlap, and `loss_iou` of the expected overlap."""
    targets, levels = anchor_targets(head, outputs[0], geometries, ground_truths, absolute=True)
    logits, deltas = flatten(outputs[0], head.cls_out_channels), flatten(outputs[1], 4)
    kept = reassign(head, logits.detach(), deltas.detach(), targets, levels)
    return kept_losses(head, outputs, targets, kept, levels, weighted=True)


def lad_losses(
    head: PaaHeadLike,
    outputs: Sequence[Sequence[Tensor]],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
    teacher: PaaHeadLike,
    advice: Sequence[Sequence[Tensor]],
) -> dict[str, Tensor]:
    """The same losses where the teacher's decide which anchors are positive (Nguyen et al., 2021, section 3.3).

    teacher: its head. advice: what its `forward` returned. Raises UsageError for a teacher of other classes.
    """
    if teacher.num_classes != head.num_classes:
        raise UsageError(f"a teacher of {teacher.num_classes} classes cannot assign objects of {head.num_classes}")
    targets, levels = anchor_targets(teacher, advice[0], geometries, ground_truths, absolute=True)
    logits, deltas = flatten(advice[0], teacher.cls_out_channels), flatten(advice[1], 4)
    kept = reassign(teacher, logits, deltas, targets, levels)
    return kept_losses(head, outputs, targets, kept, levels, weighted=False)


def kept_losses(
    head: PaaHeadLike,
    outputs: Sequence[Sequence[Tensor]],
    targets: AnchorTargets,
    kept: Tensor,
    levels: Sequence[Tensor],
    weighted: bool,
) -> dict[str, Tensor]:
    """The losses where `kept` (N, P) says which anchors are positive. weighted: boxes count by their overlap."""
    logits, deltas, quality = (flatten(x, c) for x, c in zip(outputs, (head.cls_out_channels, 4, 1)))
    labels = torch.where(kept, targets.labels, head.num_classes).flatten()
    positive = kept.flatten().nonzero().flatten()
    count = max(len(positive), 1)
    anchors = torch.cat(list(levels)).repeat(len(kept), 1)[positive]
    result = head.bbox_coder.decode(anchors, deltas.flatten(0, 1)[positive])
    wanted = targets.boxes.flatten(0, 1)[positive]
    overlaps = aligned_iou(result.detach(), wanted)
    loss_cls, loss_bbox, loss_iou = (component(head.loss_cfg[key]) for key in ("cls", "bbox", "centerness"))
    by_overlap = (overlaps.clamp(min=EPSILON), overlaps.sum()) if weighted else (None, count)
    weights, expected = targets.label_weights.flatten(), quality.flatten(0, 1)[positive]
    return {
        "loss_cls": loss_cls(logits.flatten(0, 1), labels, weights, max(count, len(kept))),
        "loss_bbox": loss_bbox(result, wanted, *by_overlap),
        "loss_iou": loss_iou(expected, overlaps[:, None], None, count),
    }


@torch.no_grad()
def reassign(
    head: PaaHeadLike, logits: Tensor, deltas: Tensor, targets: AnchorTargets, levels: Sequence[Tensor]
) -> Tensor:
    """Which anchors (N, P) stay positive. logits: (N, P, C). deltas: (N, P, 4). The choice is made on the CPU."""
    anchors, counts = torch.cat(list(levels)), [len(level) for level in levels]
    level_of = torch.cat([torch.full((n,), i, device=anchors.device) for i, n in enumerate(counts)])
    losses, positives = [], []
    for image, owners in enumerate(targets.owners):
        positive = (owners >= 0).nonzero().flatten()
        losses.append(anchor_losses(head, anchors, logits, deltas, targets, image, positive))
        positives.append(torch.stack([positive, owners[positive], level_of[positive]]))
    parts = [chosen(head, loss, *parts) for loss, parts in zip(on_host(losses), on_host(positives))]
    kept = torch.zeros_like(targets.labels, dtype=torch.bool)
    for row, part in zip(kept, on_device(parts, kept.device)):
        row[part] = True
    return kept


def chosen(head: PaaHeadLike, losses: Tensor, positive: Tensor, owners: Tensor, levels: Tensor) -> Tensor:
    """Those of an image's anchors `positive` (K,) that stay so; their objects and levels (K,)."""
    result = [positive[:0]]
    for i in owners.unique():
        own = owners == i
        best = lowest(losses[own], levels[own], head.topk)
        if len(best) > 1:
            likely = likely_positives(losses[own][best], head.covariance_type == "tied")
            result.append(positive[own][best[likely]])
    return torch.cat(result)


def anchor_losses(
    head: PaaHeadLike,
    anchors: Tensor,
    logits: Tensor,
    deltas: Tensor,
    targets: AnchorTargets,
    image: int,
    positive: Tensor,
) -> Tensor:
    """Losses (K,) of an image's anchors `positive` (K,), classes and boxes together."""
    loss_cls, loss_bbox = (component(head.loss_cfg[key]) for key in ("cls", "bbox"))
    labels, weights = targets.labels[image, positive], targets.label_weights[image, positive]
    result = head.bbox_coder.decode(anchors[positive], deltas[image, positive])
    boxes, box_weights = targets.boxes[image, positive], targets.box_weights[image, positive]
    of_class = loss_cls(logits[image, positive], labels, weights, 1.0, reduction="none").sum(dim=-1)
    return of_class + loss_bbox(result, boxes, box_weights, 1.0, reduction="none")


def lowest(losses: Tensor, level: Tensor, topk: int) -> Tensor:
    """Indices of the `topk` lowest losses (K,) of each level, the lowest of all first. level: (K,)."""
    result = []
    for i in level.unique():
        own = (level == i).nonzero().flatten()
        result.append(own[losses[own].topk(min(topk, len(own)), largest=False).indices])
    chosen = torch.cat(result)
    return chosen[losses[chosen].sort().indices]


def likely_positives(losses: Tensor, tied: bool) -> Tensor:
    """Indices of the losses (K,), rising, up to the likeliest one of the lower normal distribution."""
    joint = two_normals(losses, tied)
    lower = (joint[:, 0] >= joint[:, 1]).nonzero().flatten()
    if len(lower) == 0:
        return lower.to(losses.device)
    return lower[: int(joint.logsumexp(dim=1)[lower].argmax()) + 1].to(losses.device)
