"""Where a convolution is faster by Winograd's method, and how its multiplications are counted all the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn

from zoo.models.layers.cpu_choices import MOST_BEYOND, WIDE_CONV
from zoo.models.layers.memory_format import by_cells
from zoo.models.layers.winograd import AT_ONCE, SIDE, available, tile_rows, tiles_along

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
    wide = min(conv.in_channels, conv.out_channels) >= WIDE_CONV and is_square(conv)
    if not (wide and by_cells(x) and fits_tiles(x)):
        return False
    return is_usual(conv, x) and available()


def is_usual(conv: nn.Conv2d, x: Tensor) -> bool:
    """Whether a convolution of (N, C, H, W) is one of float32 numbers, in any way that gives the right result."""
    free = not (_AS_DEFINED.get() or torch.is_autocast_enabled("cpu"))
    return free and conv.weight.dtype == torch.float32 and x.shape[1] == conv.in_channels


def is_square(conv: nn.Conv2d) -> bool:
    """Whether each output comes from the 3 x 3 cells around it, beyond the border from zeros. RFNext dilates later."""
    geometry = (conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups, conv.padding_mode)
    return geometry == ((3, 3), (1, 1), (1, 1), (1, 1), 1, "zeros")


def fits_tiles(x: Tensor) -> bool:
    """Whether the tiles that are computed have hardly more cells than the maps (N, C, H, W)."""
    count, _, height, width = x.shape
    rows = tile_rows(count, height, width)
    computed = SIDE**2 * AT_ONCE * -(-count * rows * tiles_along(width) // AT_ONCE)
    return 0 < computed <= MOST_BEYOND * count * min(height, rows * SIDE) * width
