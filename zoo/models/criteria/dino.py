"""Losses of DINO: those of DETR, and of restoring noisy ground truth (Zhang et al., DINO, 2023, section 3.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from torch import Tensor

from zoo.models.criteria.detr import by_layer, matched_losses, set_losses
from zoo.models.criteria.protocols import TrainedHead
from zoo.models.targets import GroundTruth
from zoo.structures import ImageGeometry

# (head, logits, boxes, geometries, ground truths, layer) -> the losses of queries that are matched; layer -1 is the
# encoder's.
SetLosses = Callable[[Any, Any, Any, Sequence[ImageGeometry], Sequence[GroundTruth], int], dict[str, Tensor]]
# (head, logits, boxes, index, geometries, ground truths) -> the losses of queries whose objects are known.
KnownLosses = Callable[..., dict[str, Tensor]]


class DinoHeadLike(TrainedHead, Protocol):
    """What these losses ask of a head."""

    sync_cls_avg_factor: bool
    use_sigmoid: bool


def dino_losses(
    head: DinoHeadLike,
    outputs: Sequence[Any],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """`loss_cls`, `loss_bbox`, `loss_iou` per decoder layer; "enc_": of the proposals, "dn_": of denoising queries.

    outputs: logits and boxes of all queries, denoising ones first, the proposals, and the denoising queries' objects.
    """
    return denoising_losses(head, outputs, geometries, ground_truths, matching_losses, matched_losses)


def matching_losses(
    head: DinoHeadLike,
    logits: Any,
    boxes: Any,
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
    layer: int,
) -> dict[str, Tensor]:
    """`set_losses`, alike for all layers."""
    return set_losses(head, logits, boxes, geometries, ground_truths)


def denoising_losses(
    head: DinoHeadLike,
    outputs: Sequence[Any],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
    matching: SetLosses,
    known: KnownLosses,
) -> dict[str, Tensor]:
    """`dino_losses` with other functions for queries that are matched, and for those whose objects are known."""
    logits, boxes, proposals, index = outputs
    count = len(index[0])
    layers = enumerate(zip(logits[:, :, count:], boxes[:, :, count:]))
    losses = by_layer([matching(head, x, b, geometries, ground_truths, i) for i, (x, b) in layers])
    losses |= prefixed("enc_", matching(head, proposals[0], proposals[1], geometries, ground_truths, -1))
    noisy = zip(logits[:, :, :count], boxes[:, :, :count])
    restored = [known(head, x, b, index, geometries, ground_truths) for x, b in noisy]
    return losses | by_layer([prefixed("dn_", layer) for layer in restored])


def prefixed(prefix: str, losses: dict[str, Tensor]) -> dict[str, Tensor]:
    """The losses with a prefix."""
    return {f"{prefix}{name}": value for name, value in losses.items()}
