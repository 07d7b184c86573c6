"""Targets and losses of CenterNet2's one-stage detector (Zhou et al., 2021, section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from zoo.models.box_ops import area
from zoo.models.build import component
from zoo.models.criteria.anchor_head import flatten
from zoo.models.criteria.protocols import BoxCoder, ClassHead
from zoo.models.layers.constants import constant
from zoo.models.losses.reduction import mean_over_processes
from zoo.models.targets import GroundTruth
from zoo.structures import ImageGeometry

FAINT = 1e-4
"""Heat below this is none, and scores are kept so far away from 0 and 1."""

AROUND = torch.tensor([(x, y) for y in (-1, 0, 1) for x in (-1, 0, 1)])
MIDDLE = 4


class CenternetUpdateHeadLike(ClassHead, Protocol):
    """What these losses ask of a head."""

    bbox_coder: BoxCoder
    delta: float
    min_radius: float
    more_count: int
    more_threshold: float

    def priors(self, maps: Sequence[Tensor], /) -> list[Tensor]:
        """Priors (P, 4) of each level. maps: any maps (N, ..., H, W) of these levels."""
        ...

    regress_ranges: Sequence[tuple[float, float]]
    soft_weight: bool
    strides: Sequence[int]


def centernet_update_losses(
    head: CenternetUpdateHeadLike,
    outputs: Sequence[Sequence[Tensor]],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
    input_size: tuple[int, int] | None = None,
) -> dict[str, Tensor]:
    """`loss_cls` of the heatmap and `loss_bbox`."""
    scores = flatten(outputs[0], head.num_classes).flatten(0, 1).sigmoid().clamp(FAINT, 1 - FAINT)
    distances = flatten(outputs[1], 4)
    levels, sizes = head.priors(outputs[0]), [(x.shape[2], x.shape[3]) for x in outputs[0]]
    points = torch.cat(levels)
    ranges = torch.cat([constant(tuple(r), x).expand(len(x), 2) for x, r in zip(levels, head.regress_ranges)])
    heat, wanted = (torch.cat(x) for x in zip(*(image_targets(head, points, ranges, t) for t in ground_truths)))
    cells, labels = (torch.cat(x) for x in zip(*more_positives(head, distances, points, sizes, ground_truths)))
    count = mean_over_processes(scores.new_full((), float(len(cells)))).clamp(min=1)
    positive = (wanted.amax(dim=1) >= 0).nonzero().flatten()
    weight = heat[positive].amax(dim=1) if head.soft_weight else torch.ones_like(heat[positive, 0])
    total = mean_over_processes(weight.sum()).clamp(min=1)
    origin = points.repeat(len(geometries), 1)[positive]
    boxes = (head.bbox_coder.decode(origin, x[positive]) for x in (distances.flatten(0, 1), wanted))
    loss_cls, loss_bbox = (component(head.loss_cfg[key]) for key in ("cls", "bbox"))
    return {
        "loss_cls": loss_cls.with_positives(scores, heat, cells, labels, count),
        "loss_bbox": loss_bbox(*boxes, weight, total),
    }


def image_targets(
    head: CenternetUpdateHeadLike, points: Tensor, ranges: Tensor, ground_truth: GroundTruth
) -> tuple[Tensor, Tensor]:
    """Heat (P, C) and distances (P, 4) in strides of points (P, 4: x, y, strides); negative where there is no object.

    ranges: (P, 2), the half diagonals of objects that each point is trained for.
    """
    heat = points.new_zeros(len(points), head.num_classes)
    if len(ground_truth) == 0:
        return heat, points.new_full((len(points), 4), -1.0)
    boxes, strides = ground_truth.boxes, points[:, None, 2:]
    xy = points[:, None, :2]
    distances = torch.cat([xy - boxes[:, :2], boxes[:, 2:] - xy], dim=-1)
    centers = ((boxes[:, :2] + boxes[:, 2:]) / 2).expand(len(points), -1, 2)
    offset = xy - ((centers / strides).trunc() * strides + strides / 2)  # from the middle of the cell with the center
    possible = (distances.amin(dim=2) > 0) & (offset.abs() <= strides).all(dim=2) & in_range(distances, ranges)
    away = (xy - centers).square().sum(dim=2).masked_fill((offset == 0).all(dim=2), 0)
    away = away / (head.delta**2 * 2 * area(boxes)).clamp(min=head.min_radius**2)
    nearest, owner = away.masked_fill(~possible, torch.inf).min(dim=1)
    chosen = distances[torch.arange(len(points), device=points.device), owner] / points[:, 2:3]
    for label in ground_truth.labels.unique():
        heat[:, label] = torch.exp(-away[:, ground_truth.labels == label].amin(dim=1))
    return heat.masked_fill(heat < FAINT, 0), chosen.masked_fill(nearest.isinf()[:, None], -torch.inf)


def in_range(distances: Tensor, ranges: Tensor) -> Tensor:
    """Whether half the diagonal of boxes with distances (P, M, 4) to their sides lies within ranges (P, 2), (P, M)."""
    half = (distances[..., :2] + distances[..., 2:]).square().sum(dim=-1).sqrt() / 2
    return (half >= ranges[:, :1]) & (half <= ranges[:, 1:])


@torch.no_grad()
def more_positives(
    head: CenternetUpdateHeadLike,
    distances: Tensor,
    points: Tensor,
    sizes: Sequence[tuple[int, int]],
    ground_truths: Sequence[GroundTruth],
) -> list[tuple[Tensor, Tensor]]:
    """Per image the positives of the heatmap: indices into all points of all images, and their classes.

    They are the cells with objects' centers on the levels for their size, and those of the 3x3 cells around centers on
    any level whose boxes overlap the object as well. distances: (N, P, 4) in strides. sizes: (H, W) of each level.
    """
    starts = torch.tensor([0, *(h * w for h, w in sizes)]).cumsum(0)[:-1].to(points.device)
    limits = torch.tensor([(w, h) for h, w in sizes], device=points.device)
    result = []
    for i, (own, target) in enumerate(zip(distances, ground_truths)):
        if len(target) == 0:
            result.append((target.labels, target.labels))
            continue
        index, wanted, valid, fits = candidates(head, target.boxes, starts, limits)
        losses = candidate_losses(head, own[index], points[index], wanted.clamp(min=0)).masked_fill(~valid, torch.inf)
        losses[..., MIDDLE] = losses[..., MIDDLE].masked_fill(fits, 0)
        losses = losses.flatten(1)
        threshold = losses.kthvalue(head.more_count, dim=1, keepdim=True).values.clamp(max=head.more_threshold)
        chosen = losses < threshold
        labels = target.labels[:, None].expand_as(chosen)[chosen]
        result.append((index.flatten(1)[chosen] + i * len(points), labels))
    return result


def candidates(
    head: CenternetUpdateHeadLike, boxes: Tensor, starts: Tensor, limits: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The 3x3 cells around the center of each of M boxes on L levels.

    starts: (L,), index of each level's first cell. limits: (L, 2), cells across and down.
    Returns their indices (M, L, 9), distances (M, L, 9, 4) in strides, which are usable (M, L, 9), and which levels are
    for the object's size (M, L).
    """
    strides = boxes.new_tensor(head.strides)[None, :, None]
    cell = ((boxes[:, None, :2] + boxes[:, None, 2:]) / 2 / strides).long()
    center = cell * strides + strides // 2
    distances = torch.cat([center - boxes[:, None, :2], boxes[:, None, 2:] - center], dim=-1)
    ranges = boxes.new_tensor(head.regress_ranges)
    fits = in_range(distances.transpose(0, 1), ranges).T & (distances.amin(dim=-1) >= 0)
    shift = AROUND.to(boxes.device)
    around = cell[:, :, None] + shift
    inside = ((around >= 0) & (around < limits[:, None])).all(dim=-1)
    index = starts[:, None] + around[..., 1] * limits[:, None, 0] + around[..., 0]
    wanted = (distances / strides)[:, :, None] + torch.cat([shift, -shift], dim=1)
    usable = inside & (wanted.amin(dim=-1) >= 0)
    return index.masked_fill(~usable, 0), wanted, usable, fits


def candidate_losses(head: CenternetUpdateHeadLike, distances: Tensor, points: Tensor, wanted: Tensor) -> Tensor:
    """The box loss, without its weight, of distances (..., 4) against others (..., 4), at points (..., 4)."""
    loss = component(head.loss_cfg["bbox"])
    boxes = (head.bbox_coder.decode(points, x).flatten(0, -2) for x in (distances, wanted))
    result: Tensor = loss(*boxes, reduction="none") / loss.loss_weight
    return result.view(wanted.shape[:-1])
