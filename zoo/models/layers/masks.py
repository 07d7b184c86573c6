"""Masks of regions pasted into images."""

from __future__ import annotations

import torch
from torch import Tensor


def paste_masks(masks: Tensor, boxes: Tensor, size: tuple[int, int], threshold: float = 0.5) -> Tensor:
    """Region masks as image masks: bilinear between cell centers, zero outside, then `>= threshold`.

    masks: (K, h, w) probabilities. boxes: (K, 4) xyxy in the image's pixels. size: (H, W) of the image.
    Returns (K, H, W) bool. Bilinear sampling is separable, so each mask is two small matrix products, made only where
    the box is.
    """
    height, width = size
    pasted = torch.zeros(len(masks), height, width, dtype=torch.bool, device=masks.device)
    masks = masks.float()
    around = torch.cat([(boxes[:, :2].floor() - 1).clamp(min=0), boxes[:, 2:].ceil() + 1], dim=1)
    for i, (left, top, right, bottom) in enumerate(around.long().tolist()):
        right, bottom = min(right, width), min(bottom, height)
        if left >= right or top >= bottom:
            continue
        rows = interpolation(top, bottom, boxes[i, 1], boxes[i, 3], masks.shape[1])
        columns = interpolation(left, right, boxes[i, 0], boxes[i, 2], masks.shape[2])
        pasted[i, top:bottom, left:right] = rows @ masks[i] @ columns.T >= threshold
    return pasted


def interpolation(start: int, stop: int, low: Tensor, high: Tensor, cells: int) -> Tensor:
    """Weights (stop - start, cells) of the cells between `low` and `high` for each pixel from `start` to `stop`."""
    pixel = torch.arange(start, stop, device=low.device, dtype=torch.float32) + 0.5
    position = (pixel - low) / (high - low) * cells - 0.5
    position = position.masked_fill(position.isinf(), cells / 2 - 0.5)
    cell = torch.arange(cells, device=low.device, dtype=torch.float32)
    return (1 - (position[:, None] - cell).abs()).clamp(min=0)
