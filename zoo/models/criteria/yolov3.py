"""Losses of YOLOv3 (Redmon and Farhadi, 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.models.build import component
from zoo.models.coders.delta import center_and_size
from zoo.models.coders.yolo import YOLOCoder
from zoo.models.criteria.anchor_head import flatten
from zoo.models.criteria.protocols import PriorGenerator, TrainedHead
from zoo.models.dense_heads.yolov3 import BOX, CLASSES
from zoo.models.targets import GroundTruth
from zoo.structures import ImageGeometry

PSEUDO = {"type": "PseudoSampler"}


class Yolov3HeadLike(TrainedHead, Protocol):
    """What these losses ask of a head."""

    bbox_coder: YOLOCoder
    one_hot_smoother: float
    prior_generator: PriorGenerator
    strides: Sequence[int]


def yolov3_losses(
    head: Yolov3HeadLike,
    outputs: Sequence[Sequence[Tensor]],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """`loss_cls`, `loss_conf`, `loss_xy` and `loss_wh`, all but the second of the positives only."""
    (maps,) = outputs
    sizes = [(x.shape[-2], x.shape[-1]) for x in maps]
    levels = head.prior_generator.grid_priors(sizes, maps[0].device)
    result = flatten(maps, CLASSES + head.num_classes)
    goals, negative = (torch.stack(x) for x in zip(*(image_targets(head, levels, sizes, t) for t in ground_truths)))
    positive = goals[..., BOX : BOX + 1]
    parts = {
        "cls": (slice(CLASSES, None), positive),
        "conf": (slice(BOX, CLASSES), (negative[..., None] + positive).clamp(0, 1)),
        "xy": (slice(0, 2), positive),
        "wh": (slice(2, BOX), positive),
    }
    losses = {}
    for name, (part, weight) in parts.items():
        loss = component(head.loss_cfg[name])
        losses["loss_" + name] = loss(result[..., part], goals[..., part], weight)
    return losses


def image_targets(
    head: Yolov3HeadLike, levels: Sequence[Tensor], sizes: Sequence[tuple[int, int]], ground_truth: GroundTruth
) -> tuple[Tensor, Tensor]:
    """What the anchors should predict, (P, 5 + C): box, objectness, classes; and which are background, (P,)."""
    anchors = torch.cat(list(levels))
    strides = torch.cat([x.new_full((len(x), 1), s) for x, s in zip(levels, head.strides)])
    responsible = torch.cat([in_cells(head, i, size, ground_truth) for i, size in enumerate(sizes)])
    result = component(head.train_cfg["assigner"]).assign(anchors, responsible, ground_truth)
    samples = component(head.train_cfg.get("sampler", PSEUDO)).sample(result, anchors, ground_truth)
    goals = anchors.new_zeros(len(anchors), CLASSES + head.num_classes)
    boxes = ground_truth.boxes[samples.matched]
    where = samples.positive
    goals[where, :BOX] = head.bbox_coder.encode(anchors[where], boxes, strides[where])
    goals[where, BOX] = 1
    hot = F.one_hot(ground_truth.labels[samples.matched], head.num_classes).to(goals)
    goals[where, CLASSES:] = hot * (1 - head.one_hot_smoother) + head.one_hot_smoother / head.num_classes
    negative = anchors.new_zeros(len(anchors))
    negative[samples.negative] = 1
    return goals, negative


def in_cells(head: Yolov3HeadLike, level: int, size: tuple[int, int], ground_truth: GroundTruth) -> Tensor:
    """Which anchors of a level (P,) are in a cell with the center of an object. size: (h, w) of the level."""
    cells = (center_and_size(ground_truth.boxes)[0] / head.strides[level]).floor().long()
    flags = torch.zeros(*size, head.prior_generator.num_base_priors[level], dtype=torch.bool, device=cells.device)
    flags[cells[:, 1].clamp(max=size[0] - 1), cells[:, 0].clamp(max=size[1] - 1)] = True
    return flags.flatten()
