"""A stem's convolution and pooling band by band, so that the map between them is never whole.

It is the largest map of a residual network: 62 MB for an image of 800 x 1216. To allocate it, to write it and to read
it again takes a CPU as long as half of the convolution.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from zoo.models.layers.memory_format import by_cells, eager_on_cpu
from zoo.models.layers.norm import FrozenBatchNorm2d
from zoo.models.layers.winograd_choice import is_usual

BAND = 40
"""Rows of the pooled map that are computed at once: with 10 it takes as long as without bands, from 20 on no longer."""


def pooled_by_bands(stem: Callable[[Tensor], Tensor], pool: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """`pool(stem(x))`, bit for bit, of (N, 3, H, W).

    stem: a 7x7 convolution of stride 2 and padding 3, and functions of single numbers or channels. pool: over 3x3 cells
    with stride 2 and padding 1.
    """
    parts = [pool(band)[:, :, skipped:] for band, skipped in bands(stem, x)]
    return torch.cat(parts, dim=2)


def bands(stem: Callable[[Tensor], Tensor], x: Tensor) -> Iterator[tuple[Tensor, int]]:
    """Bands of `stem(x)` from the top, and how many rows of each pooled band the padding above it has spoiled.

    A band starts two rows early, so that pooled rows stay in step, and its image another four rows: of the convolved
    rows, too, the padding spoils the first two.
    """
    height = halved(x.shape[2])
    for top in range(0, halved(height), BAND):
        first, last = max(2 * top - 2, 0), min(2 * (top + BAND), height)
        spoiled = min(first, 2)
        rows = stem(x[:, :, 2 * (first - spoiled) : 2 * last + 2])
        yield rows[:, :, spoiled : spoiled + last - first], int(top > 0)


def halved(length: int) -> int:
    """How many steps of two a line of so many cells has."""
    return (length + 1) // 2


def wants_bands(conv: nn.Module, norm: nn.Module, x: Tensor) -> bool:
    """Whether a stem of a 7x7 convolution and a normalization is faster band by band, and gives the same.

    That is in inference on a CPU, for images that lie in memory pixel by pixel (see `pixel_by_pixel`).
    """
    alone = isinstance(norm, (nn.Identity, _BatchNorm, FrozenBatchNorm2d)) and not norm.training
    usual = isinstance(conv, nn.Conv2d) and is_stem(conv) and is_usual(conv, x)
    return alone and usual and eager_on_cpu(x) and by_cells(x)


def is_stem(conv: nn.Conv2d) -> bool:
    """Whether a convolution is the usual one of a stem."""
    return (conv.kernel_size, conv.stride, conv.padding, conv.dilation) == ((7, 7), (2, 2), (3, 3), (1, 1))
