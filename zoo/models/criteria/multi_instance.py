"""Losses of CrowdDet (Chu et al., 2020, section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from zoo.models.build import component
from zoo.models.criteria.protocols import BoxCoder, LossHead
from zoo.models.layers.precision import full_precision
from zoo.models.roi_heads.extractor import rois_of
from zoo.models.targets import GroundTruth
from zoo.structures import ImageGeometry


class SetBoxHead(LossHead, Protocol):
    """A box head with two predictions for each region."""

    bbox_coder: BoxCoder


class MultiInstanceHeadLike(Protocol):
    """What these losses ask of a head."""

    bbox_head: SetBoxHead
    train_cfg: Mapping[str, Any]

    def box_outputs(self, features: Sequence[Tensor], rois: Tensor, /) -> tuple[Tensor, ...]:
        """Class logits (M, 2, 2) and deltas (M, 2, 4) of regions (M, 5); with refinement, both once more."""
        ...


def multi_instance_losses(
    head: MultiInstanceHeadLike,
    features: Sequence[Tensor],
    proposals: Sequence[Tensor],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """`loss_rcnn_emd`, and with refinement `loss_rcnn_emd_ref`."""
    assigner, sampler = component(head.train_cfg["assigner"]), component(head.train_cfg["sampler"])
    regions, boxes, labels = [], [], []
    for own, target in zip(proposals, ground_truths):
        crowds = target.boxes[:0] if target.ignored is None else target.ignored
        candidates = torch.cat([own, target.boxes, crowds])
        result = assigner.assign(candidates, target)
        index = sampler.sample(result.labels)
        regions.append(candidates[index])
        boxes.append(result.boxes[index])
        labels.append(result.labels[index])
    outputs = full_precision(head.box_outputs(features, rois_of(regions)))
    wanted = torch.cat(regions)[:, None].expand(-1, 2, 4), torch.cat(boxes), torch.cat(labels)
    names = ("loss_rcnn_emd", "loss_rcnn_emd_ref")
    return {
        name: set_loss(head.bbox_head, *pair, *wanted) for name, pair in zip(names, zip(outputs[::2], outputs[1::2]))
    }


def set_loss(
    head: SetBoxHead, logits: Tensor, deltas: Tensor, regions: Tensor, boxes: Tensor, labels: Tensor
) -> Tensor:
    """The mean over regions of the loss of their predictions in the better of their two orders.

    logits: (M, 2, 2). deltas, regions, boxes: (M, 2, 4). labels: (M, 2).
    """
    if len(logits) == 0:
        return logits.sum() + deltas.sum()
    goals = head.bbox_coder.encode(regions.reshape(-1, 4), boxes.reshape(-1, 4)).view_as(boxes)
    orders = [pair_loss(head, x, d, goals, labels) for x, d in ((logits, deltas), (logits.flip(1), deltas.flip(1)))]
    return torch.stack(orders).amin(dim=0).mean()


def pair_loss(head: SetBoxHead, logits: Tensor, deltas: Tensor, goals: Tensor, labels: Tensor) -> Tensor:
    """Losses (M,) of predictions against the objects in the same order. Crowds count as background."""
    loss_cls, loss_bbox = (component(head.loss_cfg[key]) for key in ("cls", "bbox"))
    positive, target = (labels > 0).flatten(), labels.clamp(min=0).flatten()
    losses = loss_cls(logits.flatten(0, 1), target, reduction="none")
    distance = loss_bbox(deltas.flatten(0, 1)[positive], goals.flatten(0, 1)[positive], reduction="none").sum(dim=1)
    total = losses.index_add(0, positive.nonzero().flatten(), distance)
    return total.view(-1, 2).sum(dim=1)
