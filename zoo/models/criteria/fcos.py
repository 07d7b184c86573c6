"""Targets and losses of FCOS (Tian et al., 2019, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from zoo.models.box_ops import area
from zoo.models.build import component
from zoo.models.criteria.anchor_head import flatten
from zoo.models.criteria.atss import CENTRENESS
from zoo.models.criteria.centreness import centreness
from zoo.models.losses.reduction import mean_over_processes
from zoo.models.targets import Truth
from zoo.structures import Frame


def fcos_losses(
    head: Any, outputs: Sequence[Sequence[Tensor]], frames: Sequence[Frame], truths: Sequence[Truth]
) -> dict[str, Tensor]:
    """`loss_cls`, `loss_bbox` weighted by centreness, and `loss_centerness`."""
    logits, distances, quality = (flatten(x, c).flatten(0, 1) for x, c in zip(outputs, (head.cls_out_channels, 4, 1)))
    levels = head.priors(outputs[0])
    points = torch.cat(levels)
    ranges = torch.cat([x.new_tensor(r).expand(len(x), 2) for x, r in zip(levels, head.regress_ranges)])
    labels, wanted = (torch.cat(x) for x in zip(*(picture_targets(head, points, ranges, t) for t in truths)))
    if head.norm_on_bbox:
        wanted = wanted / points[:, 2:3].repeat(len(frames), 1)
    positive = (labels < head.num_classes).nonzero().flatten()
    average = mean_over_processes(logits.new_tensor(float(len(positive)))).clamp(min=1)
    weight = centreness(wanted[positive])
    total = mean_over_processes(weight.sum()).clamp(min=1e-6)
    places = points.repeat(len(frames), 1)[positive]
    boxes = (head.bbox_coder.decode(places, x[positive]) for x in (distances, wanted))
    loss_cls, loss_bbox = (component(head.loss_cfg[key]) for key in ("cls", "bbox"))
    loss_centreness = component(head.loss_cfg.get("centerness") or CENTRENESS)
    return {
        "loss_cls": loss_cls(logits, labels, None, average),
        "loss_bbox": loss_bbox(*boxes, weight, total),
        "loss_centerness": loss_centreness(quality[positive, 0], weight, None, average),
    }


def picture_targets(head: Any, points: Tensor, ranges: Tensor, truth: Truth) -> tuple[Tensor, Tensor]:
    """Labels (P,) and distances (P, 4) of points (P, 4: x, y, strides).

    ranges: (P, 2), the largest distance that each point is trained for. Of several objects the smallest wins.
    """
    if len(truth) == 0:
        return truth.labels.new_full((len(points),), head.num_classes), points.new_zeros(len(points), 4)
    xy = points[:, None, :2]
    distances = torch.cat([xy - truth.boxes[:, :2], truth.boxes[:, 2:] - xy], dim=-1)
    largest = distances.max(dim=-1).values
    possible = (largest >= ranges[:, :1]) & (largest <= ranges[:, 1:])
    possible &= inside(head, points, distances, truth)
    areas = torch.where(possible, area(truth.boxes), torch.inf)
    smallest, owner = areas.min(dim=1)
    labels = torch.where(smallest.isinf(), head.num_classes, truth.labels[owner])
    return labels, distances[torch.arange(len(points), device=points.device), owner]


def inside(head: Any, points: Tensor, distances: Tensor, truth: Truth) -> Tensor:
    """Whether points lie in boxes (P, M); with centre sampling, in a square around the centre clipped to the box."""
    if not head.center_sampling:
        return distances.min(dim=-1).values > 0
    reach = points[:, None, 2:] * head.center_sample_radius
    centre = (truth.boxes[:, :2] + truth.boxes[:, 2:]) / 2
    low = torch.max(centre - reach, truth.boxes[:, :2])
    high = torch.min(centre + reach, truth.boxes[:, 2:])
    xy = points[:, None, :2]
    return torch.cat([xy - low, high - xy], dim=-1).min(dim=-1).values > 0
