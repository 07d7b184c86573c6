"""Losses of DINO: those of DETR, and of restoring noisy ground truth (Zhang et al., DINO, 2023, section 3.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from zoo.models.criteria.detr import by_layer, matched_losses, set_losses
from zoo.models.targets import GroundTruth
from zoo.structures import ImageGeometry

# (head, logits, boxes, geometries, ground truths, layer) -> the losses of queries that are matched; layer -1 is the
# encoder's.
SetLosses = Callable[[Any, Any, Any, Sequence[ImageGeometry], Sequence[GroundTruth], int], dict[str, Tensor]]
# (head, logits, boxes, index, geometries, ground truths) -> the losses of queries whose objects are known.
KnownLosses = Callable[..., dict[str, Tensor]]


def dino_losses(
    head: Any, outputs: Sequence[Any], geometries: Sequence[ImageGeometry], ground_truths: Sequence[GroundTruth]
) -> dict[str, Tensor]:
    """`loss_cls`, `loss_bbox`, `loss_iou` per decoder layer; "enc_": of the proposals, "dn_": of denoising queries.

    outputs: logits and boxes of all queries, denoising ones first, the proposals, and the denoising queries' objects.
    """
    matching = lambda head, logits, boxes, geometries, truths, _: set_losses(head, logits, boxes, geometries, truths)  # noqa: E731
    return denoising_losses(head, outputs, geometries, ground_truths, matching, matched_losses)


def denoising_losses(
    head: Any,
    outputs: Sequence[Any],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
    matching: SetLosses,
    known: KnownLosses,
) -> dict[str, Tensor]:
    """`dino_losses` with other functions for queries that are matched, and for those whose objects are known."""
    logits, boxes, proposals, index = outputs
    count, common = len(index[0]), (geometries, ground_truths)
    layers = enumerate(zip(logits[:, :, count:], boxes[:, :, count:]))
    losses = by_layer([matching(head, x, b, *common, i) for i, (x, b) in layers])
    losses |= {f"enc_{name}": value for name, value in matching(head, *proposals, *common, -1).items()}
    layers = zip(logits[:, :, :count], boxes[:, :, :count])  # type: ignore[assignment]
    return losses | by_layer([prefixed("dn_", known(head, x, b, index, *common)) for x, b in layers])


def prefixed(prefix: str, losses: dict[str, Tensor]) -> dict[str, Tensor]:
    """The losses with a prefix."""
    return {f"{prefix}{name}": value for name, value in losses.items()}
