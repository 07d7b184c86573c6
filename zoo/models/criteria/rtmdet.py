"""Losses of RTMDet and RTMDet-Ins (Lyu et al., 2022, section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.errors import UsageError
from zoo.models.build import component
from zoo.models.criteria.anchor_head import flatten
from zoo.models.criteria.protocols import DenseHead, TrainedHead
from zoo.models.layers.dynamic_mask import DynamicMask
from zoo.models.losses.reduction import mean_over_processes
from zoo.models.targets import GroundTruth, numbered_through
from zoo.structures import ImageGeometry


class RtmdetHeadLike(DenseHead, TrainedHead, Protocol):
    """What these losses ask of a head."""

    def priors(self, maps: Sequence[Tensor], /) -> list[Tensor]:
        """Priors (P, 4) of each level. maps: any maps (N, ..., H, W) of these levels."""
        ...

    strides: Sequence[int]


class Matches(NamedTuple):
    """What the P priors of N images should predict.

    points: (P, 4). owners: (N, P), each prior's object, negative for background. quality: (N, P), overlap with it.
    inside: (N, P), whether a prior lies in the image and not in its padding.
    """

    points: Tensor
    owners: Tensor
    quality: Tensor
    inside: Tensor

    @property
    def positive(self) -> Tensor:
        """(N, P)."""
        return self.owners >= 0


class RtmdetInsHeadLike(RtmdetHeadLike, Protocol):
    """What the losses of masks ask beside that."""

    dynamic: DynamicMask
    mask_loss_stride: int

    def mask_logits(self, features: Tensor, parameters: Tensor, priors: Tensor, /) -> Tensor:
        """Mask logits (K, H, W). features: (C, h, w). parameters: (K, P). priors: (K, 4)."""
        ...


def rtmdet_losses(
    head: RtmdetHeadLike,
    outputs: Sequence[Sequence[Tensor]],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """`loss_cls` against overlaps and `loss_bbox` weighted by them."""
    logits, boxes, matches = matched(head, outputs, geometries, ground_truths)
    return box_losses(head, logits, boxes, matches, ground_truths)


def rtmdet_ins_losses(
    head: RtmdetInsHeadLike,
    outputs: tuple[Sequence[Tensor], Sequence[Tensor], Sequence[Tensor], Tensor],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """Those of the boxes, and `loss_mask` of every positive prior.

    outputs: per level class logits, distances and mask parameters, and the mask features (N, C, H, W).
    """
    logits, boxes, matches = matched(head, outputs[:2], geometries, ground_truths)
    losses = box_losses(head, logits, boxes, matches, ground_truths)
    return {**losses, "loss_mask": mask_loss(head, outputs[2], outputs[3], matches, ground_truths)}


def matched(
    head: RtmdetHeadLike,
    outputs: Sequence[Sequence[Tensor]],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> tuple[Tensor, Tensor, Matches]:
    """Class logits (N, P, C), boxes (N, P, 4) xyxy, and what they should be."""
    logits, distances = flatten(outputs[0], head.cls_out_channels), flatten(outputs[1], 4)
    points = torch.cat(head.priors(outputs[0]))
    boxes = head.bbox_coder.decode(points, distances)
    assigner = component(head.train_cfg["assigner"])
    owners, quality, inside = [], [], []
    for c, b, geometry, ground_truth in zip(logits.detach(), boxes.detach(), geometries, ground_truths):
        within = (points[:, 0] < geometry.size[1]) & (points[:, 1] < geometry.size[0])
        where = within.nonzero().squeeze(1)
        result = assigner.assign(c[where], points[where], b[where], ground_truth)
        owners.append(points.new_full((len(points),), -1, dtype=torch.long).index_put((where,), result.index))
        quality.append(points.new_zeros(len(points)).index_put((where,), result.overlaps))
        inside.append(within)
    return logits, boxes, Matches(points, *(torch.stack(x) for x in (owners, quality, inside)))


def box_losses(
    head: RtmdetHeadLike, logits: Tensor, boxes: Tensor, matches: Matches, ground_truths: Sequence[GroundTruth]
) -> dict[str, Tensor]:
    """`loss_cls` and `loss_bbox`, both divided by the sum of the overlaps."""
    owners = numbered_through(list(matches.owners), ground_truths)
    positive = (owners >= 0).nonzero(as_tuple=True)
    classes = torch.cat([target.labels for target in ground_truths])
    labels = torch.full_like(owners, head.num_classes).index_put(positive, classes[owners[positive]])
    wanted = torch.cat([target.boxes for target in ground_truths])[owners[positive]]
    quality = matches.quality * matches.positive
    average = mean_over_processes(quality.sum()).clamp(min=1)
    loss_cls, loss_bbox = (component(head.loss_cfg[key]) for key in ("cls", "bbox"))
    target = labels.flatten(), quality.flatten()
    return {
        "loss_cls": loss_cls(logits.flatten(0, 1), target, matches.inside.flatten().float(), average),
        "loss_bbox": loss_bbox(boxes[positive], wanted, quality[positive], average),
    }


def mask_loss(
    head: RtmdetInsHeadLike,
    parameters: Sequence[Tensor],
    features: Tensor,
    matches: Matches,
    ground_truths: Sequence[GroundTruth],
) -> Tensor:
    """The mean over the positive priors of all images. parameters: of every level (N, P, H, W)."""
    flat = flatten(parameters, head.dynamic.count)
    logits, wanted = [], []
    for maps, rows, owners, ground_truth in zip(features, flat, matches.owners, ground_truths):
        if ground_truth.masks is None:
            raise UsageError("RTMDet-Ins learns from masks: every target needs `masks`")
        positive = (owners >= 0).nonzero().squeeze(1)
        logits.append(head.mask_logits(maps, rows[positive], matches.points[positive]))
        wanted.append(ground_truth.masks[owners[positive]])
    result, targets, step = torch.cat(logits), torch.cat(wanted), head.mask_loss_stride
    count = mean_over_processes(result.new_full((), float(len(result)))).clamp(min=1)
    if len(result) == 0:
        return features.sum() * 0
    result = F.interpolate(result[None], scale_factor=head.strides[0] // step, mode="bilinear")[0]
    targets = targets[:, step // 2 :: step, step // 2 :: step]
    return component(head.loss_cfg["mask"])(result, targets, None, count)
