"""Losses of Grid R-CNN: a heatmap for each point of a grid in the box (Lu et al., 2018; Grid R-CNN Plus, 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from zoo.models.build import component
from zoo.models.coders.delta import center_and_size
from zoo.models.criteria.protocols import LossHead, StandardHead
from zoo.models.criteria.standard_roi import sampled_box_losses
from zoo.models.roi_heads.extractor import rois_of
from zoo.models.roi_heads.protocols import Extractor
from zoo.models.targets import GroundTruth
from zoo.structures import ImageGeometry

# Regions are moved and resized by at most this share of their size.
JITTER = 0.15
MOST_REGIONS = 192


class GridHead(LossHead, Protocol):
    """A head of grid points."""

    grid_size: int
    whole_map_size: int

    def both(self, x: Tensor, /) -> tuple[Tensor, Tensor]:
        """Heatmap logits (K, grid_points, h, w) with and without the neighbors' features."""
        ...

    def sub_regions(self) -> list[tuple[int, int]]:
        """The corner (x, y) of each point's part of the whole map."""
        ...


class GridRoiHeadLike(StandardHead, Protocol):
    """What these losses ask of a head."""

    grid_head: GridHead
    grid_roi_extractor: Extractor | None

    def share(self, x: Tensor, /) -> Tensor:
        """Region features behind the shared stage, where there is one."""
        ...


def grid_losses(
    head: GridRoiHeadLike,
    features: Sequence[Tensor],
    proposals: Sequence[Tensor],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """`loss_cls`, `loss_bbox` if the box head has boxes, and `loss_grid` of some positive regions, moved at random."""
    samples, losses = sampled_box_losses(head, features, proposals, ground_truths)
    regions = [jittered(s.boxes[s.positive], geometry) for s, geometry in zip(samples, geometries)]
    boxes = torch.cat([ground_truth.boxes[s.matched] for s, ground_truth in zip(samples, ground_truths)])
    if len(boxes) == 0:
        return {**losses, "loss_grid": features[0].sum() * 0}
    chosen = torch.randperm(len(boxes), device=boxes.device)[: head.train_cfg.get("max_num_grid", MOST_REGIONS)]
    extractor, grid_head = head.grid_roi_extractor or head.bbox_roi_extractor, head.grid_head
    x = head.share(extractor(features, rois_of(regions)[chosen]))
    wanted = heatmaps(grid_head, torch.cat(regions)[chosen], boxes[chosen], head.train_cfg["pos_radius"])
    loss = component(grid_head.loss_cfg["grid"])
    return {**losses, "loss_grid": sum((loss(result, wanted) for result in grid_head.both(x)), x.new_zeros(()))}


def jittered(boxes: Tensor, geometry: ImageGeometry) -> Tensor:
    """Boxes (K, 4) at random positions near their own, within the image."""
    random = (torch.rand_like(boxes) * 2 - 1) * JITTER
    center, size = center_and_size(boxes)
    center, size = center + size * random[:, :2], size * (1 + random[:, 2:])
    limit = boxes.new_tensor([geometry.size[1], geometry.size[0]] * 2) - 1
    return torch.min(torch.cat([center - size / 2, center + size / 2], dim=1).clamp(min=0), limit)


def heatmaps(head: GridHead, regions: Tensor, boxes: Tensor, radius: int) -> Tensor:
    """Maps (K, grid_points, h, w) with a small disc where each point of the grid over a box (K, 4) lies.

    A map covers the part of the doubled region (K, 4) that its point can lie in. Very small regions learn nothing.
    """
    size, half = head.whole_map_size, head.whole_map_size // 4 * 2
    center, extent = center_and_size(regions)
    low, extent = center - extent, extent * 2
    steps = torch.linspace(0, 1, head.grid_size, device=boxes.device)
    x, y = (boxes[:, i : i + 1] * (1 - steps) + boxes[:, i + 2 : i + 3] * steps for i in (0, 1))
    points = torch.stack([x.repeat_interleave(head.grid_size, 1), y.repeat(1, head.grid_size)], dim=-1)
    cells = ((points - low[:, None]) / extent[:, None] * size).trunc()
    start = torch.tensor(head.sub_regions(), device=boxes.device)
    axis = torch.arange(half, device=boxes.device)
    across, down = ((axis + start[:, i : i + 1] - cells[..., i : i + 1]).square() for i in (0, 1))
    disc = down[..., :, None] + across[..., None, :] <= radius**2
    large = (extent > head.grid_size).all(dim=1)
    return (disc & large[:, None, None, None]).to(boxes)
