"""Losses of heads that segment a whole image beside its objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.models.build import component
from zoo.models.criteria.protocols import LossHead
from zoo.models.targets import GroundTruth

UNKNOWN = 255


class SegmentationHeadLike(LossHead, Protocol):
    """What these losses ask of a head."""

    num_stuff_classes: int
    num_things_classes: int


def segmentation_loss(
    head: SegmentationHeadLike, logits: Tensor, ground_truths: Sequence[GroundTruth], name: str
) -> dict[str, Tensor]:
    """A `FusedSemanticHead`'s loss of class logits (N, C, H, W) by its name; none where no image has classes."""
    if all(ground_truth.semantic is None for ground_truth in ground_truths):
        return {}
    wanted = torch.stack([at_size(ground_truth, logits.shape[-2:]) for ground_truth in ground_truths])
    return {name: component(head.loss_cfg["seg"])(logits, wanted)}


def panoptic_loss(
    head: SegmentationHeadLike, logits: Tensor, ground_truths: Sequence[GroundTruth]
) -> dict[str, Tensor]:
    """A `PanopticFPNHead`'s `loss_seg`, at the resolution of the first image's classes; all things are one class."""
    known = [ground_truth.semantic for ground_truth in ground_truths if ground_truth.semantic is not None]
    if not known:
        return {}
    wanted = torch.stack([at_size(ground_truth, known[0].shape[-2:]) for ground_truth in ground_truths])
    things, stuff = head.num_things_classes, head.num_stuff_classes
    merged = torch.where(wanted < things, stuff, wanted - things)
    merged = torch.where(wanted == UNKNOWN, UNKNOWN, merged)
    if logits.shape[-2:] != wanted.shape[-2:]:
        logits = F.interpolate(logits, size=wanted.shape[-2:], mode="bilinear", align_corners=False)
    return {"loss_seg": component(head.loss_cfg["seg"])(logits, merged)}


def at_size(ground_truth: GroundTruth, size: torch.Size) -> Tensor:
    """An image's classes (H, W) at another resolution; unknown where there are none."""
    if ground_truth.semantic is None:
        return ground_truth.labels.new_full(tuple(size), UNKNOWN)
    return F.interpolate(ground_truth.semantic[None, None].float(), size=tuple(size), mode="nearest")[0, 0].long()
