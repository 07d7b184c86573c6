"""Losses of heads that segment a whole picture beside its objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.models.build import component
from zoo.models.targets import Truth

UNKNOWN = 255


def segmentation_loss(head: Any, logits: Tensor, truths: Sequence[Truth], name: str) -> dict[str, Tensor]:
    """A `FusedSemanticHead`'s loss of class logits (N, C, H, W) by its name; none where no picture has classes."""
    if all(truth.semantic is None for truth in truths):
        return {}
    wanted = torch.stack([at_size(truth, logits.shape[-2:]) for truth in truths])
    return {name: component(head.loss_cfg["seg"])(logits, wanted)}


def panoptic_loss(head: Any, logits: Tensor, truths: Sequence[Truth]) -> dict[str, Tensor]:
    """A `PanopticFPNHead`'s `loss_seg`, at the resolution of the first picture's classes; all things are one class."""
    known = [truth.semantic for truth in truths if truth.semantic is not None]
    if not known:
        return {}
    wanted = torch.stack([at_size(truth, known[0].shape[-2:]) for truth in truths])
    things, stuff = head.num_things_classes, head.num_stuff_classes
    merged = torch.where(wanted < things, stuff, wanted - things)
    merged = torch.where(wanted == UNKNOWN, UNKNOWN, merged)
    if logits.shape[-2:] != wanted.shape[-2:]:
        logits = F.interpolate(logits, size=wanted.shape[-2:], mode="bilinear", align_corners=False)
    return {"loss_seg": component(head.loss_cfg["seg"])(logits, merged)}


def at_size(truth: Truth, size: torch.Size) -> Tensor:
    """A picture's classes (H, W) at another resolution; unknown where there are none."""
    if truth.semantic is None:
        return truth.labels.new_full(tuple(size), UNKNOWN)
    return F.interpolate(truth.semantic[None, None].float(), size=tuple(size), mode="nearest")[0, 0].long()
