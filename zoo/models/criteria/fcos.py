"""Targets and losses of FCOS (Tian et al., 2019, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from zoo.models.box_ops import area
from zoo.models.build import component
from zoo.models.criteria.anchor_head import flatten
from zoo.models.criteria.atss import CENTERNESS
from zoo.models.criteria.centerness import centerness
from zoo.models.criteria.protocols import ClassHead, DenseHead
from zoo.models.layers.constants import constant
from zoo.models.losses.reduction import mean_over_processes
from zoo.models.targets import GroundTruth
from zoo.structures import ImageGeometry


class PointHead(ClassHead, Protocol):
    """A head whose priors are points, which learn the objects that they are in. regress_ranges: of each level."""

    center_sample_radius: float
    center_sampling: bool
    regress_ranges: Sequence[tuple[float, float]]


class FcosHeadLike(PointHead, DenseHead, Protocol):
    """What these losses ask of a head. norm_on_bbox: whether distances are in strides."""

    norm_on_bbox: bool

    def priors(self, maps: Sequence[Tensor], /) -> list[Tensor]:
        """Priors (P, 4) of each level. maps: any maps (N, ..., H, W) of these levels."""
        ...


def fcos_losses(
    head: FcosHeadLike,
    outputs: Sequence[Sequence[Tensor]],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """`loss_cls`, `loss_bbox` weighted by centerness, and `loss_centerness`."""
    return losses_of_targets(head, outputs, targets(head, head.priors(outputs[0]), ground_truths))


def targets(
    head: FcosHeadLike,
    levels: Sequence[Tensor],
    ground_truths: Sequence[GroundTruth],
    centers: Sequence[Tensor | None] | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Labels (N, P), distances (N, P, 4) and objects (N, P) of the points (P, 4) on all levels.

    centers: per image (M, 2), around which its objects are sampled, if not around those of their boxes.
    """
    points = torch.cat(list(levels))
    ranges = torch.cat([constant(tuple(r), x).expand(len(x), 2) for x, r in zip(levels, head.regress_ranges)])
    result = [
        image_targets(head, points, ranges, t, c) for t, c in zip(ground_truths, centers or [None] * len(ground_truths))
    ]
    labels, wanted, owners = (torch.stack(x) for x in zip(*result))
    return labels, wanted / points[:, 2:3] if head.norm_on_bbox else wanted, owners


def losses_of_targets(
    head: FcosHeadLike, outputs: Sequence[Sequence[Tensor]], result: tuple[Tensor, Tensor, Tensor]
) -> dict[str, Tensor]:
    """What `fcos_losses` returns, from what `targets` returned."""
    logits, distances, quality = (flatten(x, c).flatten(0, 1) for x, c in zip(outputs, (head.cls_out_channels, 4, 1)))
    points = torch.cat(head.priors(outputs[0]))
    labels, wanted, count = result[0].flatten(), result[1].flatten(0, 1), len(result[0])
    positive = (labels < head.num_classes).nonzero().flatten()
    average = mean_over_processes(logits.new_full((), float(len(positive)))).clamp(min=1)
    weight = centerness(wanted[positive])
    total = mean_over_processes(weight.sum()).clamp(min=1e-6)
    centers = points.repeat(count, 1)[positive]
    boxes = (head.bbox_coder.decode(centers, x[positive]) for x in (distances, wanted))
    loss_cls, loss_bbox = (component(head.loss_cfg[key]) for key in ("cls", "bbox"))
    loss_centerness = component(head.loss_cfg.get("centerness") or CENTERNESS)
    return {
        "loss_cls": loss_cls(logits, labels, None, average),
        "loss_bbox": loss_bbox(*boxes, weight, total),
        "loss_centerness": loss_centerness(quality[positive, 0], weight, None, average),
    }


def image_targets(
    head: PointHead, points: Tensor, ranges: Tensor, ground_truth: GroundTruth, centers: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Labels (P,), distances (P, 4) and objects (P,) of points (P, 4: x, y, strides); the latter of all points.

    ranges: (P, 2), the largest distance that each point is trained for. Of several objects the smallest wins. centers:
    (M, 2), see `targets`.
    """
    if len(ground_truth) == 0:
        background = ground_truth.labels.new_full((len(points),), head.num_classes)
        return background, points.new_zeros(len(points), 4), torch.zeros_like(background)
    xy = points[:, None, :2]
    distances = torch.cat([xy - ground_truth.boxes[:, :2], ground_truth.boxes[:, 2:] - xy], dim=-1)
    largest = distances.max(dim=-1).values
    possible = (largest >= ranges[:, :1]) & (largest <= ranges[:, 1:])
    possible &= inside(head, points, distances, ground_truth, centers)
    areas = torch.where(possible, area(ground_truth.boxes), torch.inf)
    smallest, owner = areas.min(dim=1)
    labels = torch.where(smallest.isinf(), head.num_classes, ground_truth.labels[owner])
    return labels, distances[torch.arange(len(points), device=points.device), owner], owner


def inside(
    head: PointHead, points: Tensor, distances: Tensor, ground_truth: GroundTruth, centers: Tensor | None = None
) -> Tensor:
    """Whether points lie in boxes (P, M); with center sampling, in a square around the center clipped to the box."""
    if not head.center_sampling:
        return distances.min(dim=-1).values > 0
    reach = points[:, None, 2:] * head.center_sample_radius
    if centers is None:
        centers = (ground_truth.boxes[:, :2] + ground_truth.boxes[:, 2:]) / 2
    low = torch.max(centers - reach, ground_truth.boxes[:, :2])
    high = torch.min(centers + reach, ground_truth.boxes[:, 2:])
    xy = points[:, None, :2]
    return torch.cat([xy - low, high - xy], dim=-1).min(dim=-1).values > 0
