"""Losses of AutoAssign: how much each cell counts for an object is learned too (Zhu et al., 2020, section 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.models.box_ops import aligned_iou
from zoo.models.build import component
from zoo.models.criteria.anchor_head import flatten
from zoo.models.criteria.protocols import BoxCoder, LossHead
from zoo.models.dense_heads.autoassign import CenterPrior
from zoo.models.losses.reduction import mean_over_processes
from zoo.models.targets import GroundTruth
from zoo.structures import ImageGeometry

EPSILON = 1e-12
# How much more confident cells count for an object than others.
SHARPNESS = 3


class AutoassignHeadLike(LossHead, Protocol):
    """What these losses ask of a head."""

    bbox_coder: BoxCoder
    center_prior: CenterPrior
    cls_out_channels: int
    loss_weights: Mapping[str, float]

    def priors(self, maps: Sequence[Tensor], /) -> list[Tensor]:
        """Priors (P, 4) of each level. maps: any maps (N, ..., H, W) of these levels."""
        ...


def autoassign_losses(
    head: AutoassignHeadLike,
    outputs: Sequence[Sequence[Tensor]],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """`loss_pos` of the cells in objects, `loss_neg` of all cells, and `loss_center`: the prior stays in boxes."""
    logits, distances, objectness = (flatten(x, c) for x, c in zip(outputs, (head.cls_out_channels, 4, 1)))
    points = torch.cat(head.priors(outputs[0]))
    scores, boxes = logits.sigmoid() * objectness.sigmoid(), head.bbox_coder.decode(points, distances)
    positive, negative, center, spread = [], [], [], []
    for own_scores, own_boxes, ground_truth in zip(scores, boxes, ground_truths):
        prior, inside = center_prior(head.center_prior, points, ground_truth)
        loss = component(head.loss_cfg["bbox"])
        pairs = (
            own_boxes[:, None].expand(-1, len(ground_truth), 4).reshape(-1, 4),
            ground_truth.boxes.repeat(len(points), 1),
        )
        of_box = loss(*pairs, None, reduction="none").view(len(points), len(ground_truth))
        positive.append(positive_loss(own_scores, of_box, prior, ground_truth))
        negative.append(negative_loss(own_scores, own_boxes.detach(), inside, ground_truth))
        spread.append(prior.detach().sum())
        center.append(len(ground_truth) / prior.sum().clamp(min=EPSILON) if inside.any() else prior.sum() * 0)
    objects = mean_over_processes(
        points.new_full((), float(sum(len(ground_truth) for ground_truth in ground_truths)))
    ).clamp(min=1)
    total = mean_over_processes(torch.stack(spread).sum()).clamp(min=1)
    # Every parameter takes part, as distributed training needs, even where no image has an object.
    idle = distances.sum() * 0 + (head.center_prior.mean.sum() + head.center_prior.sigma.sum()) * 0
    return {
        "loss_pos": head.loss_weights["pos"] * torch.stack(positive).sum() / objects + idle,
        "loss_neg": head.loss_weights["neg"] * torch.stack(negative).sum() / total,
        "loss_center": head.loss_weights["center"] * torch.stack(center).mean(),
    }


def center_prior(module: CenterPrior, points: Tensor, ground_truth: GroundTruth) -> tuple[Tensor, Tensor]:
    """How likely cells belong to objects by their position alone, and which are in the boxes, both (P, M).

    points: (P, 4: x, y, strides).
    """
    xy = points[:, None, :2]
    inside = torch.cat([xy - ground_truth.boxes[:, :2], ground_truth.boxes[:, 2:] - xy], dim=-1).amin(dim=-1) > 0
    center = (ground_truth.boxes[:, :2] + ground_truth.boxes[:, 2:]) / 2
    offset = ((xy - center) / points[:, None, 2:] - module.mean[ground_truth.labels]).square()
    prior = torch.exp(-offset / (2 * module.sigma[ground_truth.labels].square())).prod(dim=-1)
    if module.force_topk:
        empty = (~inside.any(dim=0)).nonzero().flatten()
        nearest = prior[:, empty].topk(min(module.topk, len(points)), dim=0).indices
        inside[nearest, empty.expand_as(nearest)] = True
    return prior * inside, inside


def positive_loss(scores: Tensor, of_box: Tensor, prior: Tensor, ground_truth: GroundTruth) -> Tensor:
    """Minus the logarithms of how well the cells find each object, the confident and central ones most.

    scores: (P, C). of_box: box losses (P, M). prior: (P, M).
    """
    result = scores[:, ground_truth.labels] * torch.exp(-of_box)
    weight = torch.exp(result * SHARPNESS) * prior
    mean = (result * weight / weight.sum(dim=0, keepdim=True).clamp(min=EPSILON)).sum(dim=0)
    return F.binary_cross_entropy(mean, torch.ones_like(mean), reduction="sum")


def negative_loss(scores: Tensor, boxes: Tensor, inside: Tensor, ground_truth: GroundTruth) -> Tensor:
    """The loss of scores (P, C) as background; cells whose boxes (P, 4) fit well are none for their object's class."""
    weights = torch.ones_like(scores)
    if len(ground_truth):
        overlap = aligned_iou(boxes[:, None], ground_truth.boxes).amax(dim=1)
        for i, label in enumerate(ground_truth.labels.tolist()):
            own = inside[:, i]
            if own.any():
                weights[own, label] = 1 - normalized(1 / (1 - overlap[own]).clamp(min=EPSILON))
    wrong = scores * weights
    return (wrong.square() * F.binary_cross_entropy(wrong, torch.zeros_like(wrong), reduction="none")).sum()


def normalized(x: Tensor) -> Tensor:
    """Values scaled from almost zero to one."""
    return (x - x.min() + EPSILON) / (x.max() - x.min() + EPSILON)
