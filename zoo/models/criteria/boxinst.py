"""Losses of BoxInst: masks learned from boxes (Tian et al., 2020, section 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.models.build import component
from zoo.models.criteria.condinst import CondinstHeadLike, DynamicMaskHead, Instances, box_losses, cells
from zoo.models.criteria.state import memory_of
from zoo.models.losses.base import Loss
from zoo.models.targets import GroundTruth
from zoo.structures import ImageGeometry

# sRGB to XYZ, and the white of daylight (CIE D65, 2 degrees).
XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
WHITE = (0.95047, 1.0, 1.08883)


class ProjectedMaskHead(DynamicMaskHead, Protocol):
    """A mask head that learns from boxes and colors."""

    pairwise_size: int
    pairwise_dilation: int
    warmup: int


class BoxinstDetector(Protocol):
    """What these losses ask of a detector. data_preprocessor: as `cfg` of `similar_neighbors`."""

    mask_head: ProjectedMaskHead
    data_preprocessor: Mapping[str, Any]


def boxinst_losses(
    head: CondinstHeadLike,
    outputs: Sequence[Sequence[Tensor]],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
    features: Tensor,
    images: Tensor,
    detector: BoxinstDetector,
) -> dict[str, Tensor]:
    """Those of FCOS, `loss_mask_project` and `loss_mask_pairwise`, which grows over the first iterations.

    features: (N, C, H, W), of the masks. images: (N, 3, H', W'), normalized. detector: whose outputs those are.
    """
    boxes = [box_masks(target.boxes, (images.shape[2], images.shape[3])) for target in ground_truths]
    losses, instances = box_losses(head, outputs, ground_truths, boxes, features, detector.mask_head)
    wanted = [cells(mask, detector.mask_head.out_stride)[result.owners] for mask, result in zip(boxes, instances)]
    similar = similar_neighbors(images, geometries, detector.mask_head, detector.data_preprocessor)
    total = max(sum(len(result.owners) for result in instances), 1)
    dice = component(detector.mask_head.loss_cfg["mask"])
    project = [projection(dice, result.logits, mask) for result, mask in zip(instances, wanted)]
    pairs = [pairwise(detector.mask_head, *part) for part in zip(instances, wanted, similar)]
    average = sum(count for _, count in pairs)
    return {
        **losses,
        "loss_mask_project": torch.stack(project).sum() / total,
        "loss_mask_pairwise": torch.stack([loss for loss, _ in pairs]).sum()
        / (average if average > 0 else 1)
        * warmth(detector.mask_head),
    }


def box_masks(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes (M, 4) as masks (M, H, W): every pixel that they touch. size: (H, W)."""
    low, high = boxes[:, :2].trunc(), (boxes[:, 2:] + 1).trunc()
    rows, columns = (torch.arange(n, device=boxes.device) for n in size)
    down = (rows >= low[:, 1:]) & (rows < high[:, 1:])
    across = (columns >= low[:, :1]) & (columns < high[:, :1])
    return down[:, :, None] & across[:, None]


def projection(dice: Loss, logits: Tensor, wanted: Tensor) -> Tensor:
    """Dice losses of the masks' (K, H, W) projections on both axes, summed up."""
    if len(logits) == 0:
        return logits.sum()
    parts = [
        dice(logits.amax(dim=axis, keepdim=True), wanted.amax(dim=axis, keepdim=True), reduction="none").sum()
        for axis in (1, 2)
    ]
    return parts[0] + parts[1]


def pairwise(
    mask_head: ProjectedMaskHead, result: Instances, wanted: Tensor, similar: Tensor
) -> tuple[Tensor, Tensor | float]:
    """Minus the log-probability that neighbors of the same color get the same label, summed up, and how many there are.

    wanted: (K, H, W), in which boxes they count. similar: (neighbors, H, W).
    """
    if len(result.logits) == 0:
        return result.logits.sum(), 0.0
    counted = similar * wanted[:, None]
    options = mask_head.pairwise_size, mask_head.pairwise_dilation
    both = []
    for log_probability in (F.logsigmoid(result.logits), F.logsigmoid(-result.logits)):
        both.append(log_probability[:, None] + neighbors(log_probability[:, None], *options)[:, 0])
    loss = -torch.logaddexp(both[0], both[1])
    return (loss * counted).sum(), counted.sum().clamp(min=1.0)


def neighbors(x: Tensor, size: int, dilation: int) -> Tensor:
    """(N, C, H, W) to (N, C, size^2 - 1, H, W): each cell's neighbors, zero outside."""
    padding = (size + (dilation - 1) * (size - 1)) // 2
    around = F.unfold(x, size, dilation=dilation, padding=padding).reshape(*x.shape[:2], -1, *x.shape[2:])
    middle = size * size // 2
    return torch.cat([around[:, :, :middle], around[:, :, middle + 1 :]], dim=2)


@torch.no_grad()
def similar_neighbors(
    images: Tensor, geometries: Sequence[ImageGeometry], mask_head: ProjectedMaskHead, cfg: Mapping[str, Any]
) -> list[Tensor]:
    """Per image, for each cell, which of its neighbors have about the same color (neighbors, H, W).

    cfg: `mean` and `std` that were applied to the images, `pairwise_color_thresh`, and `bottom_pixels_removed`, rows at
    the bottom of COCO's images that do not count.
    """
    mean, std = (images.new_tensor(cfg[key])[:, None, None] for key in ("mean", "std"))
    stride, options = mask_head.out_stride, (mask_head.pairwise_size, mask_head.pairwise_dilation)
    colors = lab(F.avg_pool2d(images * std + mean, stride).byte().float())
    result = []
    for color, geometry in zip(colors, geometries):
        height, width = geometry.size
        valid = images.new_zeros(images.shape[2:])
        removed = int(cfg.get("bottom_pixels_removed", 10) * height / images.shape[2])
        valid[: height - removed, :width] = 1
        difference = color[None, :, None] - neighbors(color[None], *options)
        similarity = torch.exp(-0.5 * torch.linalg.vector_norm(difference, dim=1))[0]
        similarity = similarity * neighbors(cells(valid[None], stride)[None], *options)[0, 0]
        result.append((similarity >= cfg.get("pairwise_color_thresh", 0.3)).float())
    return result


def lab(colors: Tensor) -> Tensor:
    """RGB (N, 3, H, W) from 0 to 255 in the CIE LAB color space."""
    x = colors.double() / 255
    linear = torch.where(x > 0.04045, ((x + 0.055) / 1.055) ** 2.4, x / 12.92)
    xyz = torch.einsum("ij,njhw->nihw", x.new_tensor(XYZ), linear) / x.new_tensor(WHITE)[:, None, None]
    f = torch.where(xyz > 0.008856, xyz ** (1 / 3), 7.787 * xyz + 16 / 116)
    return torch.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], dim=1).float()


def warmth(mask_head: ProjectedMaskHead) -> float:
    """How much the pairwise loss counts; one iteration further with each call."""
    memory = memory_of(mask_head)
    iteration = memory.get("iteration", 0)
    memory["iteration"] = iteration + 1
    return min(iteration / mask_head.warmup, 1.0)
