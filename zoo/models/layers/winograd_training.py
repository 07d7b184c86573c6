"""Winograd's method in training: for the outputs, and for the gradient of the inputs.

That gradient is a convolution of the outputs' gradient too, with every filter turned by 180 degrees and the inputs and
outputs swapped. The gradients of the weight and the bias are PyTorch's. Filters are packed in every call, since the
weight changes in every step; that takes less than a twentieth of the convolution.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from zoo.models.layers.first_derivative import only_first
from zoo.models.layers.winograd import SIDE, convolve, pack, tiles_along

GEOMETRY = ([1, 1], [1, 1], [1, 1], False, [0, 0], 1)
"""Stride, padding, dilation, not transposed, no padding of outputs, and groups of the convolution."""


PIECE = 1 << 22
"""Numbers of a map, or of several, that are copied to another layout at once, 16 MiB: with all of a map of 200 x 304 at
once it takes 1.2 times as long, as 512 regions of 14 x 14 do."""


def convolve_for_gradients(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`conv2d(x, weight, bias, padding=1)` of float32 tensors, with gradients, but not with second ones.

    x: (N, C, H, W) and the result (N, K, H, W) lie in memory as NCHW. For the gradients, `x` and `weight` are kept, as
    PyTorch does. A second derivative raises RuntimeError.
    """
    result: Tensor = ByTiles.apply(x, weight, bias)
    return result


class ByTiles(torch.autograd.Function):
    """The convolution as a step of autograd."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The outputs (N, K, H, W)."""
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, weight)
        return in_planes(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """The gradients that are wanted of those of x, weight and bias."""
        only_first("a convolution by Winograd's method")
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        with torch.autocast("cpu", enabled=False):  # as PyTorch's convolution, which was not under it either
            back = in_planes(gradient, turned(weight)) if of_x else None
        return (
            back,
            weight_gradient(gradient, x, weight) if of_weight else None,
            gradient.sum(dim=(0, 2, 3)) if of_bias else None,
        )


def in_planes(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The convolution without gradients, to a result that lies in memory as NCHW, a piece after the other."""
    filters, result = pack(weight), x.new_empty(len(x), len(weight), *x.shape[2:])
    together, rows = piece(max(x.shape[1], len(weight)), x.shape[2], x.shape[3])
    for maps, out in zip(x.split(together), result.split(together)):
        for start in range(0, x.shape[2], rows):
            above = min(start, 1)  # rows of a neighbor
            cells = maps[:, :, start - above : start + rows + 1].contiguous(memory_format=torch.channels_last)
            wanted = out[:, :, start : start + rows]
            wanted.copy_(convolve(cells, filters, bias)[:, :, above : above + wanted.shape[2]])
    return result


def piece(channels: int, height: int, width: int) -> tuple[int, int]:
    """Maps and rows that are computed at once. With the rows of their neighbors, a part of a map's rows fill tiles."""
    most = PIECE // (channels * width)
    if height <= most:
        return most // height, height
    parts = -(-height // max(most - 2, 2))
    return 1, SIDE * tiles_along(-(-height // parts) + 2) - 2


def turned(weight: Tensor) -> Tensor:
    """Filters (K, C, 3, 3) as those (C, K, 3, 3) that take gradients back."""
    return weight.transpose(0, 1).flip(2, 3)


def weight_gradient(gradient: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """That of the filters (K, C, 3, 3), by PyTorch."""
    wanted = (False, True, False)
    result: Tensor = torch.ops.aten.convolution_backward(gradient, x, weight, None, *GEOMETRY, wanted)[1]
    return result
