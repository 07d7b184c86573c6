"""How certain a detector is of a box: it regresses jittered copies of it, which should all end at the same position
(Xu et al., Soft Teacher, 2021, section 3.4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from zoo.models.layers.precision import full_precision
from zoo.models.roi_heads.bbox_head import delta_index
from zoo.models.roi_heads.extractor import rois_of
from zoo.models.roi_heads.protocols import BoxOutputs, ByClass
from zoo.structures import Detections, ImageGeometry


class RegressingHead(ByClass, Protocol):
    """A box head that moves regions."""

    def boxes(self, regions: Tensor, deltas: Tensor | None, geometry: ImageGeometry, /) -> Tensor:
        """Boxes (K, 4) from regions (K, 4) xyxy and deltas (K, 4)."""
        ...


class RegressingRoIHead(Protocol):
    """What these functions ask of a head on regions."""

    bbox_head: RegressingHead

    def box_outputs(self, features: Sequence[Tensor], rois: Tensor, /) -> BoxOutputs:
        """Class logits and deltas of regions (M, 5)."""
        ...


@torch.no_grad()
def spreads(
    roi_head: RegressingRoIHead,
    features: Sequence[Tensor],
    detections: Sequence[Detections],
    geometries: Sequence[ImageGeometry],
    times: int,
    scale: float,
) -> list[Tensor]:
    """For each image the mean standard deviation (M,) of its boxes' four sides, relative to width and height.

    times: jittered copies of a box. scale: standard deviation of the jitter, relative to the box.
    """
    copies = [jittered(d.boxes, times, scale) for d in detections]
    _, deltas = full_precision(roi_head.box_outputs(features, rois_of([boxes.flatten(0, 1) for boxes in copies])))
    assert isinstance(deltas, Tensor)
    parts = deltas.split([boxes[..., 0].numel() for boxes in copies])
    return [
        spread(regressed(roi_head.bbox_head, boxes, own, d.labels, geometry))
        for boxes, own, d, geometry in zip(copies, parts, detections, geometries)
    ]


def jittered(boxes: Tensor, times: int, scale: float) -> Tensor:
    """Copies (times, M, 4) of boxes (M, 4), each side moved by a normal part of the box's width or height."""
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1).repeat(1, 2) * scale
    return boxes + torch.randn(times, *boxes.shape, device=boxes.device) * sides


def regressed(
    bbox_head: RegressingHead, boxes: Tensor, deltas: Tensor, labels: Tensor, geometry: ImageGeometry
) -> Tensor:
    """Where a box head moves copies (T, M, 4) of boxes with labels (M,). deltas: (T * M, 4 or 4 * num_classes)."""
    deltas = deltas.view(*boxes.shape[:2], deltas.shape[1] // 4, 4)
    chosen = deltas[:, torch.arange(len(labels), device=labels.device), delta_index(bbox_head, labels)]
    moved = bbox_head.boxes(boxes.flatten(0, 1), chosen.flatten(0, 1), geometry)
    return moved.view_as(boxes)


def spread(boxes: Tensor) -> Tensor:
    """The mean (M,) of the four standard deviations of boxes (T, M, 4), relative to the sides of the mean box."""
    if boxes.numel() == 0:
        return boxes.new_zeros(0)
    middle = boxes.mean(dim=0)
    sides = (middle[:, 2:] - middle[:, :2]).clamp(min=1).repeat(1, 2)
    return (boxes.std(dim=0) / sides).mean(dim=1)
