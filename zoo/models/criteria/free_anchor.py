"""Losses of FreeAnchor: an object's anchor is chosen by likelihood (Zhang et al., 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.models.box_ops import pairwise_iou
from zoo.models.build import component
from zoo.models.criteria.anchor_head import flatten
from zoo.models.criteria.protocols import BoxCoder, LossHead
from zoo.models.targets import GroundTruth
from zoo.structures import ImageGeometry

EPSILON = 1e-12


class FreeAnchorHeadLike(LossHead, Protocol):
    """What these losses ask of a head."""

    alpha: float
    bbox_coder: BoxCoder
    bbox_thr: float
    cls_out_channels: int
    gamma: float
    pre_anchor_topk: int

    def priors(self, maps: Sequence[Tensor], /) -> list[Tensor]:
        """Priors (P, 4) of each level. maps: any maps (N, ..., H, W) of these levels."""
        ...


def free_anchor_losses(
    head: FreeAnchorHeadLike,
    outputs: Sequence[Sequence[Tensor]],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """`positive_bag_loss` of the anchors around each object, `negative_bag_loss` of all anchors."""
    anchors = torch.cat(head.priors(outputs[0]))
    scores, deltas = flatten(outputs[0], head.cls_out_channels).sigmoid(), flatten(outputs[1], 4)
    positive, likely, objects = [], [], sum(len(ground_truth) for ground_truth in ground_truths)
    for own_scores, own_deltas, ground_truth in zip(scores, deltas, ground_truths):
        likely.append(object_likelihood(head, anchors, own_deltas.detach(), ground_truth))
        positive.append(bag_losses(head, anchors, own_scores, own_deltas, ground_truth))
    negative = (scores * (1 - torch.stack(likely))).clamp(EPSILON, 1 - EPSILON)
    entropy = F.binary_cross_entropy(negative, torch.zeros_like(negative), reduction="none")
    bags = (1 - head.alpha) * (negative**head.gamma * entropy).sum()
    return {
        "positive_bag_loss": torch.cat(positive).sum() / max(1, objects) if objects else deltas.sum() * 0,
        "negative_bag_loss": bags / max(1, objects * head.pre_anchor_topk),
    }


@torch.no_grad()
def object_likelihood(head: FreeAnchorHeadLike, anchors: Tensor, deltas: Tensor, ground_truth: GroundTruth) -> Tensor:
    """How likely the boxes of anchors (P, 4) are objects of each class, (P, C): by overlap, the best of all is one."""
    result = anchors.new_zeros(head.cls_out_channels, len(anchors))
    if len(ground_truth) == 0:
        return result.T
    overlaps = pairwise_iou(ground_truth.boxes, head.bbox_coder.decode(anchors, deltas))
    best = overlaps.max(dim=1, keepdim=True).values.clamp(min=head.bbox_thr + EPSILON)
    likelihood = ((overlaps - head.bbox_thr) / (best - head.bbox_thr)).clamp(0, 1)
    return result.scatter_reduce_(0, ground_truth.labels[:, None].expand_as(likelihood), likelihood, "amax").T


def bag_losses(
    head: FreeAnchorHeadLike, anchors: Tensor, scores: Tensor, deltas: Tensor, ground_truth: GroundTruth
) -> Tensor:
    """The positive loss (M,) of each object: minus the logarithm of the mean likelihood, weighted towards the best.

    scores: (P, C). deltas: (P, 4).
    """
    size = min(head.pre_anchor_topk, len(anchors))
    bag = pairwise_iou(ground_truth.boxes, anchors).topk(size, dim=1, sorted=False).indices
    of_class = scores[bag, ground_truth.labels[:, None]]
    wanted = head.bbox_coder.encode(anchors[bag], ground_truth.boxes[:, None].expand(-1, size, -1))
    loss_bbox = component(head.loss_cfg["bbox"])(deltas[bag], wanted, reduction="none").sum(dim=-1)
    likelihood = of_class * torch.exp(-loss_bbox)
    weight = 1 / (1 - likelihood).clamp(min=EPSILON)
    mean = (weight / weight.sum(dim=1, keepdim=True) * likelihood).sum(dim=1)
    return head.alpha * F.binary_cross_entropy(mean, torch.ones_like(mean), reduction="none")
