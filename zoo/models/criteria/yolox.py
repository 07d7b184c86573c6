"""Losses of YOLOX (Ge et al., 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.models.build import component
from zoo.models.criteria.anchor_head import flatten
from zoo.models.criteria.protocols import PriorGenerator
from zoo.models.dense_heads.yolox import decode
from zoo.models.losses.cross_entropy import CrossEntropyLoss
from zoo.models.losses.iou import IoULoss
from zoo.models.losses.reduction import mean_over_processes
from zoo.models.losses.regression import L1Loss
from zoo.models.targets import GroundTruth, numbered_through
from zoo.structures import ImageGeometry


class YoloxHeadLike(Protocol):
    """What these losses ask of a head."""

    num_classes: int
    prior_generator: PriorGenerator
    train_cfg: Mapping[str, Any]
    use_l1: bool


def yolox_losses(
    head: YoloxHeadLike,
    outputs: Sequence[Sequence[Tensor]],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """`loss_cls` against overlaps, `loss_bbox`, `loss_obj`; with `head.use_l1`, the last epochs' `loss_l1` too."""
    logits, raw, objectness = (flatten(x, c) for x, c in zip(outputs, (head.num_classes, 4, 1)))
    sizes = [(x.shape[2], x.shape[3]) for x in outputs[0]]
    points = torch.cat(head.prior_generator.grid_priors(sizes, logits.device))
    boxes = torch.stack([decode(points, x) for x in raw])
    assigner = component(head.train_cfg["assigner"])
    result = []
    with torch.no_grad():
        middle = torch.cat([points[:, :2] + points[:, 2:] * 0.5, points[:, 2:]], dim=1)
        for c, o, b, ground_truth in zip(logits, objectness, boxes, ground_truths):
            result.append(assigner.assign(c.sigmoid() * o.sigmoid(), middle, b, ground_truth))
    owners = numbered_through([a.index for a in result], ground_truths)
    positive = (owners >= 0).nonzero(as_tuple=True)
    wanted = torch.cat([target.boxes for target in ground_truths])[owners[positive]]
    labels = torch.cat([target.labels for target in ground_truths])[owners[positive]]
    quality = torch.stack([a.overlaps for a in result])[positive]
    average = mean_over_processes(logits.new_full((), float(len(labels)))).clamp(min=1)
    binary = CrossEntropyLoss(use_sigmoid=True, reduction="sum")
    classes = F.one_hot(labels, head.num_classes) * quality[:, None]
    losses = {
        "loss_cls": binary(logits[positive], classes) / average,
        "loss_bbox": IoULoss(mode="square", eps=1e-16, reduction="sum", loss_weight=5.0)(boxes[positive], wanted)
        / average,
        "loss_obj": binary(objectness, (owners >= 0)[..., None].float()) / average,
    }
    if head.use_l1:
        losses["loss_l1"] = L1Loss(reduction="sum")(raw[positive], encode(points[positive[1]], wanted)) / average
    return losses


def encode(points: Tensor, boxes: Tensor) -> Tensor:
    """The raw outputs (K, 4) that decode to boxes (K, 4) at points (K, 4: x, y, strides)."""
    center, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    return torch.cat([(center - points[:, :2]) / points[:, 2:], torch.log(size / points[:, 2:] + 1e-8)], dim=1)
