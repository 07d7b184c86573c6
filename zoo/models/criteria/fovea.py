"""Losses of FoveaBox (Kong et al., 2019, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from zoo.models.box_ops import area
from zoo.models.build import component
from zoo.models.criteria.anchor_head import flatten
from zoo.models.criteria.protocols import ClassHead
from zoo.models.criteria.solo import last_owner, padded
from zoo.models.targets import GroundTruth
from zoo.structures import ImageGeometry

# Distances are learned within these, in units of the level's base edge.
NEAREST, FARTHEST = 1 / 16, 16.0


class FoveaHeadLike(ClassHead, Protocol):
    """What these losses ask of a head."""

    base_edge_list: Sequence[float]
    cls_out_channels: int

    def priors(self, maps: Sequence[Tensor], /) -> list[Tensor]:
        """Priors (P, 4) of each level. maps: any maps (N, ..., H, W) of these levels."""
        ...

    scale_ranges: Sequence[tuple[float, float]]
    sigma: float
    strides: Sequence[int]


def fovea_losses(
    head: FoveaHeadLike,
    outputs: Sequence[Sequence[Tensor]],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """`loss_cls` of all cells and `loss_bbox` of those in the middle of an object of the level's size."""
    logits, sides = (flatten(x, c).flatten(0, 1) for x, c in zip(outputs, (head.cls_out_channels, 4)))
    labels, wanted = (
        torch.cat(x) for x in zip(*(image_targets(head, outputs[0], ground_truth) for ground_truth in ground_truths))
    )
    positive = (labels < head.num_classes).nonzero().flatten()
    loss_cls, loss_bbox = (component(head.loss_cfg[key]) for key in ("cls", "bbox"))
    return {
        "loss_cls": loss_cls(logits, labels, None, len(positive) + len(geometries)),
        "loss_bbox": loss_bbox(sides[positive], wanted[positive], None, max(len(positive), 1)),
    }


def image_targets(head: FoveaHeadLike, maps: Sequence[Tensor], ground_truth: GroundTruth) -> tuple[Tensor, Tensor]:
    """Labels (P,) and logarithms of distances (P, 4) of all cells."""
    labels, wanted = [], []
    boxes, classes = torch.cat([ground_truth.boxes, ground_truth.boxes.new_ones(1, 4)]), padded(ground_truth.labels)
    levels = zip(head.priors(maps), maps, head.strides, head.scale_ranges, head.base_edge_list)
    for points, x, stride, scales, edge in levels:
        owner = owners(ground_truth, (x.shape[-2], x.shape[-1]), stride, scales, head.sigma)
        labels.append(torch.where(owner < 0, head.num_classes, classes[owner]))
        own = boxes[owner]
        distances = torch.cat([points[:, :2] - own[:, :2], own[:, 2:] - points[:, :2]], dim=1) / edge
        wanted.append(distances.clamp(NEAREST, FARTHEST).log())
    return torch.cat(labels), torch.cat(wanted)


def owners(
    ground_truth: GroundTruth, size: tuple[int, int], stride: int, scales: Sequence[float], sigma: float
) -> Tensor:
    """For each cell (P,) of a map of (h, w) its object or -1; of several objects, the smallest."""
    root = area(ground_truth.boxes).sqrt()
    order = (-root).sort(stable=True).indices
    order = order[(root[order] >= scales[0]) & (root[order] <= scales[1])]
    boxes, sides = ground_truth.boxes[order] / stride, []
    for low, high, length in ((boxes[:, 1], boxes[:, 3], size[0]), (boxes[:, 0], boxes[:, 2], size[1])):
        half, index = 0.5 * (high - low), torch.arange(length, device=low.device)
        first = (low + (1 - sigma) * half - 0.5).ceil().long().clamp(0, length - 1)
        last = (low + (1 + sigma) * half - 0.5).floor().long().clamp(0, length - 1)
        sides.append((index >= first[:, None]) & (index <= last[:, None]))
    result = last_owner((sides[0][:, :, None] & sides[1][:, None]).flatten(1))
    return torch.where(result < 0, -1, torch.cat([order, order.new_full((1,), -1)])[result])
