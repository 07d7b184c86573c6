"""Losses of ATSS (Zhang et al., 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zoo.models.build import component
from zoo.models.coders.delta import center_and_size
from zoo.models.criteria.anchor_head import anchor_targets, flatten
from zoo.models.criteria.centerness import centerness
from zoo.models.criteria.protocols import AnchorHead
from zoo.models.losses.reduction import mean_over_processes
from zoo.models.targets import GroundTruth
from zoo.structures import ImageGeometry

CENTERNESS = {"type": "CrossEntropyLoss", "use_sigmoid": True}


def atss_losses(
    head: AnchorHead,
    outputs: Sequence[Sequence[Tensor]],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """`loss_cls`, `loss_bbox` weighted by centerness, and `loss_centerness`."""
    targets, levels = anchor_targets(head, outputs[0], geometries, ground_truths, absolute=True)
    logits, deltas, quality = (flatten(x, c).flatten(0, 1) for x, c in zip(outputs, (head.cls_out_channels, 4, 1)))
    labels, boxes = targets.labels.flatten(), targets.boxes.view(-1, 4)
    average = mean_over_processes(logits.new_full((), float(targets.positives))).clamp(min=1)
    positive = (labels < head.num_classes).nonzero().flatten()
    anchors = torch.cat(levels).repeat(len(geometries), 1)[positive]
    points = center_and_size(anchors)[0]
    wanted = centerness(torch.cat([points - boxes[positive, :2], boxes[positive, 2:] - points], dim=1))
    weight_sum = mean_over_processes(wanted.sum()).clamp(min=1)
    result = head.bbox_coder.decode(anchors, deltas[positive])
    loss_cls, loss_bbox = (component(head.loss_cfg[key]) for key in ("cls", "bbox"))
    loss_centerness = component(head.loss_cfg.get("centerness") or CENTERNESS)
    return {
        "loss_cls": loss_cls(logits, labels, targets.label_weights.flatten(), average),
        "loss_bbox": loss_bbox(result, boxes[positive], wanted, weight_sum),
        "loss_centerness": loss_centerness(quality[positive, 0], wanted, None, average),
    }
