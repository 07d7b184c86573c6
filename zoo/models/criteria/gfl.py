"""Losses of Generalized Focal Loss (Li et al., 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from zoo.models.box_ops import aligned_iou
from zoo.models.build import component
from zoo.models.coders.delta import center_and_size
from zoo.models.criteria.anchor_head import anchor_targets, flatten
from zoo.models.criteria.protocols import AnchorHead
from zoo.models.dense_heads.gfl import Integral
from zoo.models.losses.reduction import mean_over_processes
from zoo.models.targets import GroundTruth
from zoo.structures import ImageGeometry

# Keeps a batch without positives from dividing by zero.
EPSILON = 1e-6


class GflHeadLike(AnchorHead, Protocol):
    """What these losses ask of a head."""

    integral: Integral
    reg_max: int


def gfl_losses(
    head: GflHeadLike,
    outputs: Sequence[Sequence[Tensor]],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
    teacher: GflHeadLike | None = None,
    advice: Sequence[Sequence[Tensor]] | None = None,
) -> dict[str, Tensor]:
    """`loss_cls` against the boxes' overlaps, `loss_bbox` and `loss_dfl` weighted by the class scores.

    advice: what a teacher's `forward` returned, whose sides are learned, too: `loss_ld` (Zheng et al., 2021).
    """
    targets, levels = anchor_targets(head, outputs[0], geometries, ground_truths, absolute=True)
    bins = head.reg_max + 1
    logits, sides = (flatten(x, c).flatten(0, 1) for x, c in zip(outputs, (head.cls_out_channels, 4 * bins)))
    labels, boxes = targets.labels.flatten(), targets.boxes.view(-1, 4)
    average = mean_over_processes(logits.new_full((), float(targets.positives))).clamp(min=1)
    positive = (labels < head.num_classes).nonzero().flatten()
    strides = torch.cat([x.new_full((len(x), 1), s[0]) for x, s in zip(levels, head.prior_generator.strides)])
    strides = strides.repeat(len(geometries), 1)[positive]
    points = center_and_size(torch.cat(levels).repeat(len(geometries), 1)[positive])[0] / strides
    wanted, sides = boxes[positive] / strides, sides[positive].view(-1, 4, bins)
    result = head.bbox_coder.decode(points, head.integral(sides))
    quality = torch.zeros_like(targets.label_weights.flatten())
    quality[positive] = aligned_iou(result.detach(), wanted)
    weight = logits.detach().sigmoid().max(dim=1).values[positive]
    total = mean_over_processes(weight.sum())
    total = total.clamp(min=1) if advice is None else total + EPSILON
    distances = head.bbox_coder.encode(points, wanted).clamp(0, head.reg_max - 0.1)
    loss_cls, loss_bbox, loss_dfl = (component(head.loss_cfg[key]) for key in ("cls", "bbox", "dfl"))
    losses = {
        "loss_cls": loss_cls(logits, (labels, quality), targets.label_weights.flatten(), average),
        "loss_bbox": loss_bbox(result, wanted, weight, total),
        "loss_dfl": loss_dfl(sides.flatten(0, 1), distances.flatten(), weight.repeat_interleave(4), 4 * total),
    }
    if advice is not None:
        soft = flatten(advice[1], 4 * bins).flatten(0, 1)[positive].view(-1, bins)
        loss_ld = component(head.loss_cfg["ld"])
        losses["loss_ld"] = loss_ld(sides.flatten(0, 1), soft, weight.repeat_interleave(4), 4.0)
    return losses
