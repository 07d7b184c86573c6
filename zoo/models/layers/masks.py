"""Masks of regions pasted into images."""

from __future__ import annotations

import torch
from torch import Tensor

MOST_PIXELS = 2**24  # of the float maps that a GPU computes at once: 64 MB


def paste_masks(masks: Tensor, boxes: Tensor, size: tuple[int, int], threshold: float = 0.5) -> Tensor:
    """Region masks as image masks: bilinear between cell centers, zero outside, then `>= threshold`.

    masks: (K, h, w) probabilities. boxes: (K, 4) xyxy in the image's pixels. size: (H, W) of the image.
    Returns (K, H, W) bool. Bilinear sampling is separable, so each mask is two small matrix products: one mask after
    the other and only where its box is on a CPU, many whole images at once on a GPU, where each step has its price.
    """
    around = torch.cat([(boxes[:, :2].floor() - 1).clamp(min=0), boxes[:, 2:].ceil() + 1], dim=1)
    paste = paste_one_by_one if masks.device.type == "cpu" else paste_together
    return paste(masks.float(), boxes, around, size, threshold)


def paste_one_by_one(masks: Tensor, boxes: Tensor, around: Tensor, size: tuple[int, int], threshold: float) -> Tensor:
    """`paste_masks` within `around` (K, 4), the boxes and a pixel more."""
    height, width = size
    pasted = torch.zeros(len(masks), height, width, dtype=torch.bool, device=masks.device)
    for i, (left, top, right, bottom) in enumerate(around.long().tolist()):
        right, bottom = min(right, width), min(bottom, height)
        if left >= right or top >= bottom:
            continue
        x, y = (torch.arange(*ends, device=masks.device) for ends in ((left, right), (top, bottom)))
        rows = interpolation(y, boxes[i, 1], boxes[i, 3], masks.shape[1])
        columns = interpolation(x, boxes[i, 0], boxes[i, 2], masks.shape[2])
        pasted[i, top:bottom, left:right] = rows @ masks[i] @ columns.T >= threshold
    return pasted


def paste_together(masks: Tensor, boxes: Tensor, around: Tensor, size: tuple[int, int], threshold: float) -> Tensor:
    """`paste_masks` for whole images, as many at once as fit, without waiting for the numbers in `around`."""
    weights = []
    for axis, (length, cells) in enumerate(zip(reversed(size), reversed(masks.shape[1:]))):
        pixel = torch.arange(length, device=masks.device)
        low, high, start, stop = (part[:, axis, None] for part in (*boxes.split(2, 1), *around.split(2, 1)))
        near = (pixel >= start) & (pixel < stop)
        weights.append(interpolation(pixel, low, high, cells).where(near[..., None], 0.0))
    columns, rows = weights
    parts = zip(*(tensor.split(max(MOST_PIXELS // (size[0] * size[1]), 1)) for tensor in (rows, masks, columns)))
    return torch.cat([row @ mask @ column.mT >= threshold for row, mask, column in parts])


def interpolation(pixel: Tensor, low: Tensor, high: Tensor, cells: int) -> Tensor:
    """Weights (..., P, cells) of the cells between `low` and `high` (...), for the pixels (P,)."""
    position = (pixel + 0.5 - low) / (high - low) * cells - 0.5
    position = position.masked_fill(position.isinf(), cells / 2 - 0.5)
    cell = torch.arange(cells, device=low.device, dtype=torch.float32)
    return (1 - (position[..., None] - cell).abs()).clamp(min=0)
