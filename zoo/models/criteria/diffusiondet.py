"""Losses of DiffusionDet: boxes of ground truth with noise are restored (Chen et al., DiffusionDet, 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from zoo.models.box_ops import box_convert
from zoo.models.build import component
from zoo.models.criteria.detr import Layer, by_image, matched
from zoo.models.query_heads.diffusiondet_head import DiffusionDetCriterion, sides
from zoo.models.targets import GroundTruth, Pairs
from zoo.structures import ImageGeometry


class DiffusiondetHeadLike(Protocol):
    """What these losses ask of a head."""

    criterion: DiffusionDetCriterion
    deep_supervision: bool
    num_classes: int
    num_proposals: int
    snr_scale: float

    def get_buffer(self, target: str, /) -> Tensor:
        """A tensor of the head by its name."""
        ...

    def to_pixels(self, raw: Tensor, sizes: Tensor, /) -> Tensor:
        """Boxes xyxy in pixels of boxes in the units of the diffusion."""
        ...


def noisy_boxes(
    head: DiffusiondetHeadLike, time: Tensor, geometries: Sequence[ImageGeometry], ground_truths: Sequence[GroundTruth]
) -> Tensor:
    """Boxes (N, Q, 4) xyxy in pixels: objects and random boxes, with as much noise as `time` (N,) says."""
    sizes = torch.stack([sides(geometry, target.boxes) for geometry, target in zip(geometries, ground_truths)])
    images = zip(ground_truths, sizes)
    clean = torch.stack([filled_up(target.boxes / size, head.num_proposals) for target, size in images])
    clean = (clean * 2 - 1) * head.snr_scale
    kept, added = (
        head.get_buffer(name)[time].to(clean)[:, None, None]
        for name in ("sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod")
    )
    boxes: Tensor = head.to_pixels(kept * clean + added * torch.randn_like(clean), sizes)
    return boxes


def filled_up(boxes: Tensor, count: int) -> Tensor:
    """`count` boxes cxcywh in [0, 1]: the given (M, 4) xyxy and random ones; some of the given if M is larger."""
    boxes = box_convert(boxes, "xyxy", "cxcywh")
    if len(boxes) >= count:
        return boxes[torch.randperm(len(boxes), device=boxes.device)[:count].sort()[0]]
    others = torch.randn(count - len(boxes), 4, device=boxes.device) / 6 + 0.5
    others[:, 2:] = others[:, 2:].clamp(min=1e-4)
    return torch.cat([boxes, others])


def diffusiondet_losses(
    head: DiffusiondetHeadLike,
    outputs: Sequence[Tensor],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """`loss_cls`, `loss_bbox` and `loss_giou` of the last refinement, and behind "s.0." and so on of those before."""
    layers = [Layer(x, b, ground_truths) for x, b in zip(*outputs)]
    images = [(x, b, target, g.size) for layer in layers for x, b, target, g in zip(*layer, geometries)]
    pairs = by_image(component(head.criterion.assigner).match(images), len(geometries))
    *before, last = [step_losses(head, layer, own, geometries) for layer, own in zip(layers, pairs)]
    losses = dict(last)
    for i, step in enumerate(before if head.deep_supervision else ()):
        losses |= {f"s.{i}.{name}": value for name, value in step.items()}
    return losses


def step_losses(
    head: DiffusiondetHeadLike, layer: Layer, pairs: Sequence[Pairs], geometries: Sequence[ImageGeometry]
) -> dict[str, Tensor]:
    """One refinement's losses. layer: its boxes are xyxy in pixels. pairs: one for each image."""
    result = matched(pairs, [len(x) for x in layer.logits], geometries, layer.ground_truths)
    criterion = head.criterion
    losses = (component(x) for x in (criterion.loss_cls, criterion.loss_bbox, criterion.loss_giou))
    loss_cls, loss_bbox, loss_giou = losses
    logits, boxes = torch.cat(tuple(layer.logits)), torch.cat(tuple(layer.boxes))[result.query]
    count = max(len(result.query), 1)
    return {
        "loss_cls": loss_cls(logits, result.spread(len(logits), head.num_classes)) / count,
        "loss_bbox": loss_bbox(boxes / result.scale, result.boxes / result.scale) / count,
        "loss_giou": loss_giou(boxes, result.boxes) / count,
    }
