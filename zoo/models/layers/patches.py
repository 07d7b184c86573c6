"""Patches of images and maps as tokens, which stay on their grid: (N, H, W, C)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.layers.norm import make_norm
from zoo.models.layers.tracing import recording

LN = {"type": "LN"}


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """(N, H, W, C) with zeros below and to the right, so that H and W are multiples."""
    below, right = (missing(size, multiple) for size in x.shape[1:3])
    return F.pad(x, (0, 0, 0, right, 0, below)) if recording() or below or right else x


def missing(size: int, multiple: int) -> int:
    """What a size lacks to the next multiple."""
    return (multiple - size % multiple) % multiple


def blocks(x: Tensor, size: int) -> Tensor:
    """(N, H, W, C), whose H and W are multiples of `size`, as (N, H / size, size, W / size, size, C)."""
    return x.reshape(x.shape[0], x.shape[1] // size, size, x.shape[2] // size, size, x.shape[3])


class PatchEmbed(nn.Module):
    """A strided convolution and a normalization.

    padding: pixels on each side; "corner" instead pads below and to the right to whole patches.
    """

    def __init__(
        self,
        in_channels: int,
        embed_dims: int,
        kernel_size: int,
        stride: int,
        padding: int | str = "corner",
        norm_cfg: Mapping[str, Any] | None = LN,
    ) -> None:
        super().__init__()
        self.whole_patches = stride if padding == "corner" else 1
        margin = 0 if isinstance(padding, str) else padding
        self.projection = nn.Conv2d(in_channels, embed_dims, kernel_size, stride, margin)
        self.norm = make_norm(norm_cfg, embed_dims)[1] if norm_cfg else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, H / stride, W / stride, embed_dims)."""
        below, right = (missing(size, self.whole_patches) for size in x.shape[2:])
        if (recording() and self.whole_patches > 1) or below or right:
            x = F.pad(x, (0, right, 0, below))
        return self.norm(self.projection(x).permute(0, 2, 3, 1))


class PatchMerging(nn.Module):
    """2x2 patches become one: concatenation, normalization and a linear layer (Liu et al., Swin, section 3.1)."""

    def __init__(self, in_channels: int, out_channels: int, norm_cfg: Mapping[str, Any] | None = LN) -> None:
        super().__init__()
        self.norm = make_norm(norm_cfg, 4 * in_channels)[1] if norm_cfg else nn.Identity()
        self.reduction = nn.Linear(4 * in_channels, out_channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, in_channels) to (N, H / 2, W / 2, out_channels), rounded up."""
        x = blocks(pad_to_multiple(x, 2), 2)
        merged = x.permute(0, 1, 3, 5, 2, 4).flatten(3)  # the four pixels of a channel side by side
        return self.reduction(self.norm(merged))
