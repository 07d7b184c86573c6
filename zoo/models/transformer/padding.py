"""Which part of a padded batch is image.

DETR and its descendants attend to every cell, so a batch with images of different sizes must say what is padding.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def padding_mask(images: Tensor, geometries: Any) -> Tensor:
    """(N, H, W) bool, True on the padding. images: (N, 3, H, W).

    geometries: of each image, or an object whose `sizes` (N, 2) has their heights and widths, where N is free.
    """
    height, width = images.shape[-2:]
    rows, columns = torch.arange(height, device=images.device), torch.arange(width, device=images.device)
    if isinstance(sizes := getattr(geometries, "sizes", None), Tensor):
        return (rows >= sizes[:, :1])[:, :, None] | (columns >= sizes[:, 1:])[:, None]
    sizes = [geometry.size for geometry in geometries]
    return torch.stack([(rows >= h)[:, None] | (columns >= w) for h, w in sizes])


def padding_at(padding: Tensor, like: Tensor) -> Tensor:
    """The mask (N, H, W) at the resolution of a feature map (N, C, h, w), by the nearest pixel."""
    return F.interpolate(padding[:, None].float(), size=like.shape[-2:])[:, 0].bool()


def tokens(x: Tensor) -> Tensor:
    """A map (N, C, H, W) as a sequence (N, H * W, C)."""
    return x.flatten(2).transpose(1, 2)
