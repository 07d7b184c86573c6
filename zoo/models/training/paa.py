"""Losses of PAA: anchors are split into positives and negatives by their own losses (Kim and Lee, 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from zoo.models.build import component
from zoo.models.overlaps import aligned_iou
from zoo.models.training.anchors import AnchorTargets, anchor_targets, flatten
from zoo.models.training.mixture import two_normals
from zoo.models.training.targets import Truth
from zoo.structures import Frame

EPSILON = 1e-12


def paa_losses(
    head: Any, outputs: Sequence[Sequence[Tensor]], frames: Sequence[Frame], truths: Sequence[Truth]
) -> dict[str, Tensor]:
    """`loss_cls`, `loss_bbox` weighted by overlap, and `loss_iou` of the expected overlap."""
    targets, levels = anchor_targets(head, outputs[0], frames, truths, absolute=True)
    logits, deltas, quality = (flatten(x, c) for x, c in zip(outputs, (head.cls_out_channels, 4, 1)))
    kept = reassign(head, logits.detach(), deltas.detach(), targets, levels)
    labels = torch.where(kept, targets.labels, head.num_classes).flatten()
    positive, count = kept.flatten().nonzero().flatten(), int(kept.sum())
    anchors = torch.cat(levels).repeat(len(frames), 1)[positive]
    found = head.bbox_coder.decode(anchors, deltas.flatten(0, 1)[positive])
    wanted = targets.boxes.flatten(0, 1)[positive]
    overlaps = aligned_iou(found.detach(), wanted)
    loss_cls, loss_bbox, loss_iou = (component(head.loss_cfg[key]) for key in ("cls", "bbox", "centerness"))
    weights, expected = targets.label_weights.flatten(), quality.flatten(0, 1)[positive]
    return {
        "loss_cls": loss_cls(logits.flatten(0, 1), labels, weights, max(count, len(frames))),
        "loss_bbox": loss_bbox(found, wanted, overlaps.clamp(min=EPSILON), overlaps.sum()),
        "loss_iou": loss_iou(expected, overlaps[:, None], None, max(count, 1)),
    }


@torch.no_grad()
def reassign(head: Any, logits: Tensor, deltas: Tensor, targets: AnchorTargets, levels: Sequence[Tensor]) -> Tensor:
    """Which anchors (N, P) stay positive. logits: (N, P, C). deltas: (N, P, 4)."""
    kept = torch.zeros_like(targets.labels, dtype=torch.bool)
    anchors, counts = torch.cat(list(levels)), [len(level) for level in levels]
    level_of = torch.cat([torch.full((n,), i, device=anchors.device) for i, n in enumerate(counts)])
    for picture, owners in enumerate(targets.owners):
        positive = (owners >= 0).nonzero().flatten()
        losses = anchor_losses(head, anchors, logits, deltas, targets, picture, positive)
        for i in owners[positive].unique():
            own = owners[positive] == i
            best = lowest(losses[own], level_of[positive][own], head.topk)
            if len(best) > 1:
                likely = likely_positives(losses[own][best], head.covariance_type == "tied")
                kept[picture, positive[own][best[likely]]] = True
    return kept


def anchor_losses(
    head: Any,
    anchors: Tensor,
    logits: Tensor,
    deltas: Tensor,
    targets: AnchorTargets,
    picture: int,
    positive: Tensor,
) -> Tensor:
    """Losses (K,) of a picture's anchors `positive` (K,), classes and boxes together."""
    loss_cls, loss_bbox = (component(head.loss_cfg[key]) for key in ("cls", "bbox"))
    labels, weights = targets.labels[picture, positive], targets.label_weights[picture, positive]
    found = head.bbox_coder.decode(anchors[positive], deltas[picture, positive])
    boxes, box_weights = targets.boxes[picture, positive], targets.box_weights[picture, positive]
    of_class = loss_cls(logits[picture, positive], labels, weights, 1.0, reduction="none").sum(dim=-1)
    return of_class + loss_bbox(found, boxes, box_weights, 1.0, reduction="none")


def lowest(losses: Tensor, level: Tensor, topk: int) -> Tensor:
    """Indices of the `topk` lowest losses (K,) of each level, the lowest of all first. level: (K,)."""
    found = []
    for i in level.unique():
        own = (level == i).nonzero().flatten()
        found.append(own[losses[own].topk(min(topk, len(own)), largest=False).indices])
    chosen = torch.cat(found)
    return chosen[losses[chosen].sort().indices]


def likely_positives(losses: Tensor, tied: bool) -> Tensor:
    """Indices of the losses (K,), rising, up to the likeliest one of the lower normal distribution."""
    joint = two_normals(losses, tied)
    lower = (joint[:, 0] >= joint[:, 1]).nonzero().flatten()
    if len(lower) == 0:
        return lower.to(losses.device)
    return lower[: int(joint.logsumexp(dim=1)[lower].argmax()) + 1].to(losses.device)
