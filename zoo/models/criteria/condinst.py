"""Losses of CondInst (Tian et al., 2020, section 3.4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from zoo.errors import UsageError
from zoo.models.build import component
from zoo.models.criteria.anchor_head import flatten
from zoo.models.criteria.fcos import FcosHeadLike, losses_of_targets, targets
from zoo.models.criteria.protocols import LossHead
from zoo.models.targets import GroundTruth
from zoo.structures import ImageGeometry


class DynamicMaskHead(LossHead, Protocol):
    """A mask head with weights of its own for each object. out_stride: of its masks, in pixels."""

    out_stride: int
    logits: Callable[..., Tensor]
    best_masks: int
    max_masks: int


class CondinstDetector(Protocol):
    """What these losses ask of a detector."""

    mask_head: DynamicMaskHead


class CondinstHeadLike(FcosHeadLike, Protocol):
    """What these losses ask of a head. num_params: of each object's own weights."""

    num_params: int


class Instances(NamedTuple):
    """The positive points of one image. logits: (K, H, W) of their masks. owners: (K,), their objects."""

    logits: Tensor
    owners: Tensor


def condinst_losses(
    head: CondinstHeadLike,
    outputs: Sequence[Sequence[Tensor]],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
    features: Tensor,
    images: Tensor,
    detector: CondinstDetector,
) -> dict[str, Tensor]:
    """`loss_cls`, `loss_bbox`, `loss_centerness`, and `loss_mask`, the mean Dice loss of the positive points.

    features: (N, C, H, W), of the masks. images: (N, 3, H', W'). detector: whose outputs those are.
    """
    masks = [target.masks for target in ground_truths]
    if any(mask is None for mask in masks):
        raise UsageError("CondInst learns from masks: every target needs `masks`")
    losses, instances = box_losses(head, outputs, ground_truths, masks, features, detector.mask_head)  # type: ignore[arg-type]
    dice = component(detector.mask_head.loss_cfg["mask"])
    parts = [
        dice(result.logits, cells(mask, detector.mask_head.out_stride)[result.owners], reduction="none").sum()  # type: ignore[arg-type]
        for result, mask in zip(instances, masks)
    ]
    return {**losses, "loss_mask": torch.stack(parts).sum() / max(sum(len(result.owners) for result in instances), 1)}


def box_losses(
    head: CondinstHeadLike,
    outputs: Sequence[Sequence[Tensor]],
    ground_truths: Sequence[GroundTruth],
    masks: Sequence[Tensor],
    features: Tensor,
    mask_head: DynamicMaskHead,
) -> tuple[dict[str, Tensor], list[Instances]]:
    """The losses of FCOS, whose centers are those of the masks (M, H, W), and the instances whose masks are learned."""
    levels = head.priors(outputs[0])
    result = targets(head, levels, ground_truths, [centroids(mask) for mask in masks])
    scores = flatten(outputs[0], head.num_classes).detach().sigmoid().amax(dim=-1)
    scores = scores * flatten(outputs[2], 1).detach().sigmoid()[..., 0]
    parameters, points, instances = flatten(outputs[3], head.num_params), torch.cat(levels), []
    for labels, owners, quality, maps, rows in zip(result[0], result[2], scores, features, parameters):
        index = (labels < head.num_classes).nonzero().flatten()
        index = index[taken(mask_head, owners[index], quality[index])]
        instances.append(Instances(mask_head.logits(maps, rows[index], points[index]), owners[index]))
    return losses_of_targets(head, outputs, result), instances


def centroids(masks: Tensor) -> Tensor:
    """x, y (M, 2) in pixels of the centers of gravity of masks (M, H, W)."""
    size = masks.flatten(1).sum(dim=1).clamp(min=1e-6)
    rows, columns = (torch.arange(n, device=masks.device, dtype=torch.float32) for n in masks.shape[1:])
    return torch.stack([(masks.sum(dim=1) * columns).sum(dim=1) / size, (masks.sum(dim=2) * rows).sum(dim=1) / size], 1)


def taken(mask_head: DynamicMaskHead, owners: Tensor, scores: Tensor) -> Tensor:
    """Indices of the positive points whose masks are learned: all of them, some at random, or the best per object.

    owners, scores: (K,).
    """
    count = len(owners)
    if 0 <= mask_head.max_masks < count:
        return torch.randperm(count, device=owners.device)[: mask_head.max_masks]
    everything = torch.arange(count, device=owners.device)
    objects = owners.unique()
    if mask_head.best_masks < 0 or count == 0:
        return everything
    share = max(int(mask_head.best_masks / len(objects)), 1)
    members = [everything[owners == owner] for owner in objects]
    return torch.cat([m if len(m) <= share else m[scores[m].topk(share).indices] for m in members])


def cells(masks: Tensor, stride: int) -> Tensor:
    """Masks (M, H, W) at the middle of cells of `stride` pixels."""
    return masks[:, stride // 2 :: stride, stride // 2 :: stride].float()
