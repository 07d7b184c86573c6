"""Winograd's method in training: for the outputs, and for the gradient of the inputs.

That gradient is a convolution of the outputs' gradient too, with every filter turned by 180 degrees and the inputs and
outputs swapped. The gradients of the weight and the bias are PyTorch's. Filters are packed in every call, since the
weight changes in every step; that takes less than a twentieth of the convolution.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from zoo.models.layers.winograd import convolve, pack

GEOMETRY = ([1, 1], [1, 1], [1, 1], False, [0, 0], 1)
"""Stride, padding, dilation, not transposed, no padding of outputs, and groups of the convolution."""


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
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """The gradients that are wanted of those of x, weight and bias."""
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
    """The convolution without gradients, to a result that lies in memory as NCHW."""
    by_cells = x.contiguous(memory_format=torch.channels_last)
    return convolve(by_cells, pack(weight), bias).contiguous()


def turned(weight: Tensor) -> Tensor:
    """Filters (K, C, 3, 3) as those (C, K, 3, 3) that take gradients back."""
    return weight.transpose(0, 1).flip(2, 3)


def weight_gradient(gradient: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """That of the filters (K, C, 3, 3), by PyTorch."""
    wanted = (False, True, False)
    result: Tensor = torch.ops.aten.convolution_backward(gradient, x, weight, None, *GEOMETRY, wanted)[1]
    return result
