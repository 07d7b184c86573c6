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
    cells = heat.new_tensor([heat.shape[3] / input_size[1], heat.shape[2] / input_size[0]])
    result = [image_targets(heat[0], cells, ground_truth) for ground_truth in ground_truths]
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


def image_targets(heat: Tensor, cells: Tensor, ground_truth: GroundTruth) -> Maps:
    """An image's targets. heat: any map (C, H, W) of their size. cells: (2,) per pixel, x and y."""
    pairs = heat.new_zeros(3, 2, *heat.shape[1:])
    goals = Maps(torch.zeros_like(heat), *pairs.unbind(0))
    centers, extents = (x * cells for x in center_and_size(ground_truth.boxes))
    for center, extent, label in zip(centers, extents, ground_truth.labels.tolist()):
        x, y = (min(int(c), side - 1) for c, side in zip(center.tolist(), (heat.shape[2], heat.shape[1])))
        add_spot(goals.heat[label], x, y, reach(float(extent[0]), float(extent[1]), OVERLAP))
        goals.sizes[:, y, x] = extent
        goals.offsets[:, y, x] = center - center.new_tensor([x, y])
        goals.weight[:, y, x] = 1
    return goals
