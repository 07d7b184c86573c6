"""Targets and losses of SOLO, Decoupled SOLO and SOLOv2 (Wang et al., SOLO, 2020, section 3.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.errors import UsageError
from zoo.models.build import component
from zoo.models.criteria.protocols import ClassHead
from zoo.models.targets import GroundTruth
from zoo.structures import ImageGeometry

# (level, image, cells (K,)) -> masks (K, h, w) as the loss wants them.
Pick = Callable[[int, int, Tensor], Tensor]
Size = tuple[int, int]


class SoloHeadLike(ClassHead, Protocol):
    """What these losses ask of a head."""

    num_grids: Sequence[int]
    pos_scale: float
    scale_ranges: Sequence[tuple[float, float]]
    strides: Sequence[int]


@dataclass
class Canvas:
    """What the masks are learned on: per level the (h, w) of the masks and their stride in pixels."""

    sizes: Sequence[Size]
    strides: Sequence[float]

    @property
    def extent(self) -> Size:
        """(H, W) in pixels of what the grids cover."""
        (height, width), stride = self.sizes[0], self.strides[0]
        return int(height * stride), int(width * stride)


class MaskFeatures(Protocol):
    """What makes the features that masks are cut from. mask_stride: of these, in pixels."""

    mask_stride: int


class SoloV2HeadLike(SoloHeadLike, Protocol):
    """What SOLOv2's losses ask beside that."""

    dynamic_conv_size: int
    mask_feature_head: MaskFeatures


def solo_losses(
    head: SoloHeadLike,
    outputs: tuple[Sequence[Tensor], Sequence[Tensor]],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """`loss_mask` and `loss_cls` of a `SOLOHead`."""
    masks, logits = outputs
    canvas = Canvas([(x.shape[-2], x.shape[-1]) for x in masks], [s / 2 for s in head.strides])
    return grid_losses(head, logits, ground_truths, canvas, lambda level, i, cells: masks[level][i, cells])


def decoupled_losses(
    head: SoloHeadLike,
    outputs: tuple[Sequence[tuple[Tensor, Tensor]], Sequence[Tensor]],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """`loss_mask` and `loss_cls` of a `DecoupledSOLOHead`."""
    masks, logits = outputs
    canvas = Canvas([(x.shape[-2], x.shape[-1]) for x, _ in masks], [s / 2 for s in head.strides])

    def pick(level: int, image: int, cells: Tensor) -> Tensor:
        columns, rows = (axis[image] for axis in masks[level])
        grid = head.num_grids[level]
        return rows[cells // grid].sigmoid() * columns[cells % grid].sigmoid()

    return grid_losses(head, logits, ground_truths, canvas, pick)


def solov2_losses(
    head: SoloV2HeadLike,
    outputs: tuple[tuple[Sequence[Tensor], Tensor], Sequence[Tensor]],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """`loss_mask` and `loss_cls` of a `SOLOV2Head`, where cells that several objects want learn all their masks."""
    (kernels, features), logits = outputs
    levels, stride, side = len(head.num_grids), head.mask_feature_head.mask_stride, head.dynamic_conv_size
    canvas = Canvas([(features.shape[-2], features.shape[-1])] * levels, [stride] * levels)

    def pick(level: int, image: int, cells: Tensor) -> Tensor:
        chosen = kernels[level][image].flatten(1)[:, cells].T
        if len(cells) == 0:
            return chosen.sum() + features[image, :0]
        return F.conv2d(features[image : image + 1], chosen.unflatten(1, (-1, side, side)))[0]

    return grid_losses(head, logits, ground_truths, canvas, pick, shared=True)


def grid_losses(
    head: SoloHeadLike,
    logits: Sequence[Tensor],
    ground_truths: Sequence[GroundTruth],
    canvas: Canvas,
    pick: Pick,
    shared: bool = False,
) -> dict[str, Tensor]:
    """`loss_mask`, the mean over the cells with an object, and `loss_cls` over all cells.

    logits: per level (N, C, grid, grid). shared: a cell learns the masks of all objects that want it, not of the last.
    """
    dice, labels, parts, count = component(head.loss_cfg["mask"]), [], [], logits[0].new_zeros(())
    for level, (grid, size, stride) in enumerate(zip(head.num_grids, canvas.sizes, canvas.strides)):
        for image, ground_truth in enumerate(ground_truths):
            wanted = wanted_cells(ground_truth, head.scale_ranges[level], head.pos_scale, grid, canvas.extent)
            owner = last_owner(wanted)
            background = torch.full_like(owner, head.num_classes)
            labels.append(torch.where(owner < 0, background, padded(ground_truth.labels)[owner]))
            objects, cells = wanted.nonzero(as_tuple=True) if shared else owned(owner)
            targets = shrunk(masks_of(ground_truth)[objects], stride, size)
            parts.append(dice(pick(level, image, cells), targets, reduction="none"))
            count = count + (owner >= 0).sum()
    scores = torch.cat([x.permute(0, 2, 3, 1).reshape(-1, head.num_classes) for x in logits])
    return {
        "loss_mask": torch.cat(parts).sum() / count.clamp(min=1),
        "loss_cls": component(head.loss_cfg["cls"])(scores, torch.cat(labels), None, count + 1),
    }


def wanted_cells(
    ground_truth: GroundTruth, scales: Sequence[float], pos_scale: float, grid: int, extent: Size
) -> Tensor:
    """Which cells (M, grid ** 2) each object is learned by: around its center of mass, if its size fits the level.

    scales: smallest and largest square root of a box's area. pos_scale: size of the center region in boxes. extent:
    (H, W) in pixels of what the grid covers. At most one cell in each direction from that of the center.
    """
    width, height = (ground_truth.boxes[:, 2:] - ground_truth.boxes[:, :2]).unbind(-1)
    size = (width * height).sqrt()
    masks = masks_of(ground_truth)
    fits = (size >= scales[0]) & (size <= scales[1]) & masks.flatten(1).any(dim=1)
    sides = []
    for axis, length in enumerate((height, width)):
        center = center_of_mass(masks, axis)
        cells = [
            torch.div(position / extent[axis], 1 / grid, rounding_mode="trunc")
            for position in (center, center - 0.5 * length * pos_scale, center + 0.5 * length * pos_scale)
        ]
        low, high = (
            torch.max(cells[1].clamp(min=0), cells[0] - 1),
            torch.min(cells[2].clamp(max=grid - 1), cells[0] + 1),
        )
        index = torch.arange(grid, device=low.device)
        sides.append((index >= low[:, None]) & (index <= high[:, None]))
    return (sides[0][:, :, None] & sides[1][:, None] & fits[:, None, None]).flatten(1)


def center_of_mass(masks: Tensor, axis: int) -> Tensor:
    """Mean coordinate (M,) of the pixels of masks (M, H, W); axis 0 is y, 1 is x."""
    weight = masks.float().sum(dim=2 - axis)
    position = torch.arange(weight.shape[1], dtype=torch.float32, device=masks.device)
    return (weight * position).sum(1) / weight.sum(1).clamp(min=1e-6)


def last_owner(wanted: Tensor) -> Tensor:
    """For each cell (P,) the last object that wants it, or -1. wanted: (M, P) bool."""
    rank = torch.arange(1, len(wanted) + 1, device=wanted.device)[:, None] * wanted
    return F.pad(rank, (0, 0, 1, 0)).amax(dim=0) - 1


def owned(owner: Tensor) -> tuple[Tensor, Tensor]:
    """Objects and cells, pair by pair."""
    cells = (owner >= 0).nonzero().flatten()
    return owner[cells], cells


def padded(labels: Tensor) -> Tensor:
    """Labels (M,) with one more at the end, for cells that index none."""
    return F.pad(labels, (0, 1))


def shrunk(masks: Tensor, stride: float, size: Size) -> Tensor:
    """Masks (K, H, W) at one pixel per `stride`, binary, on a canvas of (h, w): (K, h, w)."""
    if len(masks) == 0:
        return masks.new_zeros((0, *size))
    shape = [int(side / stride + 0.5) for side in masks.shape[-2:]]
    small = F.interpolate(masks[:, None].float(), size=shape, mode="bilinear", align_corners=False)[:, 0] >= 0.5
    return F.pad(small, (0, size[1] - shape[1], 0, size[0] - shape[0]))


def masks_of(ground_truth: GroundTruth) -> Tensor:
    """An image's masks. Raises UsageError where the targets have none."""
    if ground_truth.masks is None:
        raise UsageError("SOLO learns masks: each image's target needs 'masks' (M, H, W) beside boxes and labels")
    return ground_truth.masks
