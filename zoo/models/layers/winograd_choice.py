"""Where a convolution is faster by Winograd's method, and how its multiplications are counted all the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn

from zoo.models.layers.cpu_choices import FEWEST_TILES_TRAINING, MOST_BEYOND, WIDE_CONV, WIDE_CONV_TRAINING
from zoo.models.layers.memory_format import by_cells, plain_on_cpu
from zoo.models.layers.winograd import FEW, SIDE, available, chunks_of, tile_rows, tiles_along

_AS_DEFINED: ContextVar[bool] = ContextVar("as_defined", default=False)


@contextmanager
def as_defined() -> Iterator[None]:
    """Convolutions take the multiplications that define them for a while, so that they can be counted."""
    token = _AS_DEFINED.set(True)
    try:
        yield
    finally:
        _AS_DEFINED.reset(token)


def saves_by_tiles(conv: nn.Conv2d, x: Tensor) -> bool:
    """Whether a convolution of (N, C, H, W), which needs no gradients, is faster by `winograd.convolve`.

    That is where there are many channels on both sides and the tiles hardly reach beyond the maps. Autocast would
    compute in another type.
    """
    return is_wide(conv) and by_cells(x) and fits_tiles(x) and is_usual(conv, x) and available()


def saves_by_tiles_in_training(conv: nn.Conv2d, x: Tensor) -> bool:
    """Whether a convolution is faster by `winograd_training`, where gradients are recorded and maps lie as NCHW.

    Whichever gradients are wanted: the outputs and the gradient of the inputs each take less time so, and the gradient
    of the weight takes the same.
    """
    if not (torch.is_grad_enabled() and plain_on_cpu(x) and is_square(conv)):
        return False
    wide = min(conv.in_channels, conv.out_channels) >= WIDE_CONV_TRAINING
    if not (wide and x.dim() == 4 and x.is_contiguous() and tiles_of(x) >= FEWEST_TILES_TRAINING):
        return False
    return fits_tiles(x) and is_usual(conv, x) and available()


def is_usual(conv: nn.Conv2d, x: Tensor) -> bool:
    """Whether a convolution of (N, C, H, W) is one of float32 numbers, in any way that gives the right result."""
    return as_is_best() and conv.weight.dtype == torch.float32 and x.shape[1] == conv.in_channels


def as_is_best() -> bool:
    """Whether an operation may be computed in any way: nobody counts its multiplications, or chooses other numbers."""
    return not (_AS_DEFINED.get() or torch.is_autocast_enabled("cpu"))


def is_wide(conv: nn.Conv2d) -> bool:
    """Whether a convolution has so many channels that tiles of 3 x 3 filters pay in inference."""
    return min(conv.in_channels, conv.out_channels) >= WIDE_CONV and is_square(conv)


def is_square(conv: nn.Conv2d) -> bool:
    """Whether each output comes from the 3 x 3 cells around it, beyond the border from zeros. RFNext dilates later."""
    geometry = (conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups, conv.padding_mode)
    return geometry == ((3, 3), (1, 1), (1, 1), (1, 1), 1, "zeros")


def fits_tiles(x: Tensor) -> bool:
    """Whether the tiles that are computed have hardly more cells than the maps (N, C, H, W)."""
    count, _, height, width = x.shape
    rows = tile_rows(count, height, width)
    computed = SIDE**2 * FEW * chunks_of(count, rows, width)
    return 0 < computed <= MOST_BEYOND * count * min(height, rows * SIDE) * width


def tiles_of(x: Tensor) -> int:
    """Tiles that cover the maps (N, C, H, W)."""
    return x.shape[0] * tiles_along(x.shape[2]) * tiles_along(x.shape[3])
