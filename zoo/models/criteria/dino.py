"""Losses of DINO: those of DETR, and of restoring noisy ground truth (Zhang et al., DINO, 2023, section 3.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from torch import Tensor

from zoo.models.criteria.detr import Layer, by_layer, matched_losses, set_losses
from zoo.models.criteria.protocols import TrainedHead
from zoo.models.query_heads.denoising import Denoising
from zoo.models.targets import GroundTruth, Pairs
from zoo.structures import ImageGeometry

Head = TypeVar("Head", bound="DinoHeadLike")
# Class logits (layers, N, Q, C) and boxes (layers, N, Q, 4), those of the proposals, and the denoising queries.
DinoOutputs = tuple[Tensor, Tensor, tuple[Tensor, Tensor], Denoising]
# (head, layers, geometries) -> the losses of each layer's queries, which are matched; the last one is the encoder's.
SetLosses = Callable[[Head, Sequence[Layer], Sequence[ImageGeometry]], list[dict[str, Tensor]]]
# (head, layer, pairs, geometries) -> the losses of queries whose objects are known.
KnownLosses = Callable[[Head, Layer, Sequence[Pairs], Sequence[ImageGeometry]], dict[str, Tensor]]


class DinoHeadLike(TrainedHead, Protocol):
    """What these losses ask of a head."""

    sync_cls_avg_factor: bool
    use_sigmoid: bool


def dino_losses(
    head: DinoHeadLike,
    outputs: DinoOutputs,
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """`loss_cls`, `loss_bbox`, `loss_iou` per decoder layer; "enc_": of the proposals, "dn_": of denoising queries.

    outputs: logits and boxes of all queries, denoising ones first, the proposals, and the denoising queries.
    """
    return denoising_losses(head, outputs, geometries, ground_truths, set_losses, matched_losses)


def denoising_losses(
    head: Head,
    outputs: DinoOutputs,
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
    matching: SetLosses[Head],
    known: KnownLosses[Head],
) -> dict[str, Tensor]:
    """`dino_losses` with other functions for queries that are matched, and for those whose objects are known."""
    logits, boxes, proposals, noise = outputs
    count = noise.count
    layers = [*zip(logits[:, :, count:], boxes[:, :, count:]), proposals]
    *own, encoder = matching(head, [Layer(x, b, ground_truths) for x, b in layers], geometries)
    losses = by_layer(own) | prefixed("enc_", encoder)
    return losses | restored_losses(
        head, logits[:, :, :count], boxes[:, :, :count], noise, known, geometries, ground_truths
    )


def restored_losses(
    head: Head,
    logits: Tensor,
    boxes: Tensor,
    noise: Denoising,
    known: KnownLosses[Head],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """The losses of denoising queries, behind "dn_". Per layer logits: (N, D, C). boxes: (N, D, 4)."""
    layers = [Layer(x, b, ground_truths) for x, b in zip(logits, boxes)]
    return by_layer([prefixed("dn_", known(head, layer, noise.pairs, geometries)) for layer in layers])


def prefixed(prefix: str, losses: dict[str, Tensor]) -> dict[str, Tensor]:
    """The losses with a prefix."""
    return {f"{prefix}{name}": value for name, value in losses.items()}
