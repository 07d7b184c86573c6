"""Losses of CenterNet (Zhou et al., Objects as Points, 2019, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.models.build import component
from zoo.models.coders.delta import center_and_size
from zoo.models.criteria.heatmaps import add_spot, reach
from zoo.models.criteria.protocols import LossHead
from zoo.models.layers.constants import constant
from zoo.models.layers.transfer import on_host
from zoo.models.targets import GroundTruth
from zoo.structures import ImageGeometry

# Boxes moved by less than a spot's radius still overlap their object by this.
OVERLAP = 0.3


@dataclass
class Maps:
    """What the maps of an image should be: heat (C, H, W); sizes, offsets and where these count, (2, H, W)."""

    heat: Tensor
    sizes: Tensor
    offsets: Tensor
    weight: Tensor


def centernet_losses(
    head: LossHead,
    outputs: Sequence[Sequence[Tensor]],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
    input_size: tuple[int, int],
) -> dict[str, Tensor]:
    """`loss_center_heatmap`, `loss_wh` and `loss_offset`. input_size: (h, w) of the padded batch."""
    heat, sizes, offsets = (maps[0] for maps in outputs)
    cells = constant((heat.shape[3] / input_size[1], heat.shape[2] / input_size[0]), heat)
    boxes = [torch.cat([x * cells for x in center_and_size(own.boxes)], dim=1) for own in ground_truths]
    images = zip(on_host(boxes), on_host([own.labels for own in ground_truths]))
    result = [image_targets(heat[0], own.tolist(), labels.tolist()) for own, labels in images]
    goals = {
        key: torch.stack([getattr(maps, key) for maps in result]) for key in ("heat", "sizes", "offsets", "weight")
    }
    count = (goals["heat"] == 1).sum().clamp(min=1)
    loss_heat, loss_size, loss_offset = (component(head.loss_cfg[key]) for key in ("center_heatmap", "wh", "offset"))
    return {
        "loss_center_heatmap": loss_heat(heat, goals["heat"], None, count),
        "loss_wh": loss_size(sizes, goals["sizes"], goals["weight"], count * 2),
        "loss_offset": loss_offset(offsets, goals["offsets"], goals["weight"], count * 2),
    }


def image_targets(heat: Tensor, boxes: Sequence[Sequence[float]], labels: Sequence[int]) -> Maps:
    """An image's targets. heat: any map (C, H, W) of their size. boxes: cx, cy, w and h of each object, in cells."""
    pairs = heat.new_zeros(3, 2, *heat.shape[1:])
    goals = Maps(torch.zeros_like(heat), *pairs.unbind(0))
    for (cx, cy, *extent), label in zip(boxes, labels):
        x, y = min(int(cx), heat.shape[2] - 1), min(int(cy), heat.shape[1] - 1)
        add_spot(goals.heat[label], x, y, reach(extent[0], extent[1], OVERLAP))
        cell = slice(x, x + 1)  # one number alone would be copied to a GPU, which the host would wait for
        for i, values in enumerate(zip(extent, (cx - x, cy - y))):
            goals.sizes[i, y, cell], goals.offsets[i, y, cell] = values
        goals.weight[:, y, x] = 1
    return goals
