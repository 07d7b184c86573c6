"""Targets and losses of FCOS (Tian et al., 2019, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from zoo.models.box_ops import area
from zoo.models.build import component
from zoo.models.criteria.anchor_head import flatten
from zoo.models.criteria.atss import CENTERNESS
from zoo.models.criteria.centerness import centerness
from zoo.models.losses.reduction import mean_over_processes
from zoo.models.targets import GroundTruth
from zoo.structures import ImageGeometry


def fcos_losses(
    head: Any,
    outputs: Sequence[Sequence[Tensor]],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """`loss_cls`, `loss_bbox` weighted by centerness, and `loss_centerness`."""
    logits, distances, quality = (flatten(x, c).flatten(0, 1) for x, c in zip(outputs, (head.cls_out_channels, 4, 1)))
    levels = head.priors(outputs[0])
    points = torch.cat(levels)
    ranges = torch.cat([x.new_tensor(r).expand(len(x), 2) for x, r in zip(levels, head.regress_ranges)])
    labels, wanted = (torch.cat(x) for x in zip(*(image_targets(head, points, ranges, t) for t in ground_truths)))
    if head.norm_on_bbox:
        wanted = wanted / points[:, 2:3].repeat(len(geometries), 1)
    positive = (labels < head.num_classes).nonzero().flatten()
    average = mean_over_processes(logits.new_tensor(float(len(positive)))).clamp(min=1)
    weight = centerness(wanted[positive])
    total = mean_over_processes(weight.sum()).clamp(min=1e-6)
    places = points.repeat(len(geometries), 1)[positive]
    boxes = (head.bbox_coder.decode(places, x[positive]) for x in (distances, wanted))
    loss_cls, loss_bbox = (component(head.loss_cfg[key]) for key in ("cls", "bbox"))
    loss_centerness = component(head.loss_cfg.get("centerness") or CENTERNESS)
    return {
        "loss_cls": loss_cls(logits, labels, None, average),
        "loss_bbox": loss_bbox(*boxes, weight, total),
        "loss_centerness": loss_centerness(quality[positive, 0], weight, None, average),
    }


def image_targets(head: Any, points: Tensor, ranges: Tensor, ground_truth: GroundTruth) -> tuple[Tensor, Tensor]:
    """Labels (P,) and distances (P, 4) of points (P, 4: x, y, strides).

    ranges: (P, 2), the largest distance that each point is trained for. Of several objects the smallest wins.
    """
    if len(ground_truth) == 0:
        return ground_truth.labels.new_full((len(points),), head.num_classes), points.new_zeros(len(points), 4)
    xy = points[:, None, :2]
    distances = torch.cat([xy - ground_truth.boxes[:, :2], ground_truth.boxes[:, 2:] - xy], dim=-1)
    largest = distances.max(dim=-1).values
    possible = (largest >= ranges[:, :1]) & (largest <= ranges[:, 1:])
    possible &= inside(head, points, distances, ground_truth)
    areas = torch.where(possible, area(ground_truth.boxes), torch.inf)
    smallest, owner = areas.min(dim=1)
    labels = torch.where(smallest.isinf(), head.num_classes, ground_truth.labels[owner])
    return labels, distances[torch.arange(len(points), device=points.device), owner]


def inside(head: Any, points: Tensor, distances: Tensor, ground_truth: GroundTruth) -> Tensor:
    """Whether points lie in boxes (P, M); with center sampling, in a square around the center clipped to the box."""
    if not head.center_sampling:
        return distances.min(dim=-1).values > 0
    reach = points[:, None, 2:] * head.center_sample_radius
    center = (ground_truth.boxes[:, :2] + ground_truth.boxes[:, 2:]) / 2
    low = torch.max(center - reach, ground_truth.boxes[:, :2])
    high = torch.min(center + reach, ground_truth.boxes[:, 2:])
    xy = points[:, None, :2]
    return torch.cat([xy - low, high - xy], dim=-1).min(dim=-1).values > 0
