"""A convolution that takes the fastest of several equal ways on a CPU, or the one that gives the same bits everywhere.

PyTorch computes a 1x1 convolution as a product of matrices on one thread, but by another library's kernels on several,
which add the input channels up in an order that depends on how many there are. Where a network amplifies rounding, such
as one with many deformable convolutions, whose samples move with it, that can show in its detections. Elsewhere it does
not show, and the product is slower on several threads (docs/cpu.md), so only such networks have it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.layers import onednn
from zoo.models.layers.cpu_choices import FEW_IMAGES, LARGE_PRODUCT, SMALL_MAP
from zoo.models.layers.graph_conv import conv_by_cells, gains_in_graph
from zoo.models.layers.memory_format import added, by_cells, eager_on_cpu
from zoo.models.layers.packed_filters import forget, packed
from zoo.models.layers.winograd import convolve
from zoo.models.layers.winograd_choice import is_usual, saves_by_tiles, saves_by_tiles_in_training
from zoo.models.layers.winograd_training import convolve_for_gradients

T = TypeVar("T", bound=nn.Module)


class FastConv2d(nn.Conv2d):
    """`torch.nn.Conv2d` whose 1x1 and 3x3 convolutions are computed as is best on a CPU; in training, 3x3 ones only.

    Once `steady`, 1x1 convolutions are products of matrices on any number of threads, as they are on one, where each
    channel is a plane of its own in memory. Where the channels of a pixel lie together, as large images' do (see
    `pixel_by_pixel`), oneDNN computes them on one thread too, and 3x3 convolutions of wide maps take fewer
    multiplications (see `winograd`) unless `steady`. For these, filters are kept that take four times the memory of the
    weight, and a copy of the weight, with which it is compared in every call. `train()` and `to()` free them.
    """

    steady = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        geometry = (self.kernel_size, self.stride, self.padding, self.groups)
        self.is_product = geometry == ((1, 1), (1, 1), (0, 0), 1)

    def forward(self, x: Tensor, activation: nn.Module | None = None, shortcut: Tensor | None = None) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H', W'): the convolution, plus a shortcut, activated.

        shortcut: a map like the result, needed nowhere else: without gradients the result may take its memory.
        """
        fast = eager_on_cpu(x) and not self.steady
        if fast and saves_by_tiles(self, x):
            if shortcut is None:
                return convolve(x, packed(self.weight), self.bias, activation)
            return finished(convolve(x, packed(self.weight), self.bias), activation, shortcut)
        if fast and takes_one_pass(self, x, activation, shortcut):
            return onednn.convolve(self, x, activation, shortcut)
        return finished(self.convolved(x), activation, shortcut)

    def convolved(self, x: Tensor) -> Tensor:
        """The convolution alone, in a compiled graph one operator of it."""
        if not self.steady and gains_in_graph(self, x):
            return conv_by_cells(x, self.weight, self.bias)
        if not self.steady and saves_by_tiles_in_training(self, x):
            return convolve_for_gradients(x, self.weight, self.bias)
        if not (self.is_product and eager_on_cpu(x)):
            return super().forward(x)
        alone = torch.get_num_threads() == 1
        if self.steady and not alone and few_in_nchw(x):
            return pointwise(x, self.weight.flatten(1), self.bias)
        if alone and by_cells(x) and is_large_product(self, x) and onednn.has_onednn():
            return by_onednn(x, self.weight, self.bias)
        return super().forward(x)

    def train(self, mode: bool = True) -> Self:
        """Set the mode; nothing is kept for training."""
        if mode:
            forget(self.weight)
        return super().train(mode)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move or convert the layer; nothing is kept for the weight that it had."""
        forget(self.weight)
        return super()._apply(fn, recurse)


def finished(x: Tensor, activation: nn.Module | None, shortcut: Tensor | None) -> Tensor:
    """`activation(x + shortcut)`, both where given. `x` must be needed nowhere else."""
    x = x if shortcut is None else added(x, shortcut)
    return x if activation is None else activation(x)


def takes_one_pass(conv: FastConv2d, x: Tensor, activation: nn.Module | None, shortcut: Tensor | None) -> bool:
    """Whether there is more to do than a convolution, and oneDNN gains by doing it at once."""
    if shortcut is None and activation is None:
        return False
    simple = conv.padding_mode == "zeros" and not isinstance(conv.padding, str)
    fits = shortcut is None or may_become_result(conv, x, shortcut)
    return (
        onednn.knows(activation, shortcut)
        and simple
        and fits
        and by_cells(x)
        and is_usual(conv, x)
        and onednn.available()
        and suits_onednn(conv, x)
        and not loses_activation(conv, activation)
    )


def suits_onednn(conv: FastConv2d, x: Tensor) -> bool:
    """Whether oneDNN is the fastest for the convolution alone; elsewhere, preparing it costs more than a pass."""
    if conv.is_product and torch.get_num_threads() == 1 and len(x) < FEW_IMAGES:
        return is_large_product(conv, x)
    return len(x) > 1 or conv.groups > 1 or x.numel() > SMALL_MAP


def is_large_product(conv: FastConv2d, x: Tensor) -> bool:
    """Whether a 1x1 convolution has so many multiplications that oneDNN is faster on one thread, too."""
    return x.numel() * conv.out_channels >= LARGE_PRODUCT


def loses_activation(conv: FastConv2d, activation: nn.Module | None) -> bool:
    """Whether oneDNN's convolution is slower with the activation than followed by it: SiLU, unless 1x1 or grouped."""
    return type(activation) is nn.SiLU and conv.groups == 1 and conv.kernel_size != (1, 1)


def may_become_result(conv: FastConv2d, x: Tensor, shortcut: Tensor) -> bool:
    """Whether a map is in memory as the convolution's result would be, and not where that of `x` is."""
    alike = shortcut.dtype == x.dtype and shortcut.shape == (len(x), conv.out_channels, *result_size(conv, x))
    return alike and by_cells(shortcut) and shortcut.data_ptr() != x.data_ptr()


def result_size(conv: FastConv2d, x: Tensor) -> tuple[int, ...]:
    """The (height, width) of what a convolution makes of (N, C, H, W)."""
    geometry = zip(x.shape[2:], conv.kernel_size, conv.stride, cast("tuple[int, int]", conv.padding), conv.dilation)
    return tuple(
        (side + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
        for side, kernel, stride, padding, dilation in geometry
    )


def hold_steady(network: T) -> T:
    """`network`; where its backbone amplifies rounding, by deformable convolutions, with steady 1x1 convolutions."""
    backbone = getattr(network, "backbone", network)
    if any(getattr(module, "amplifies_rounding", False) for module in backbone.modules()):
        for module in network.modules():
            if isinstance(module, FastConv2d):
                module.steady = True
    return network


def pointwise(x: Tensor, matrix: Tensor, bias: Tensor | None) -> Tensor:
    """(N, C, H, W) to (N, C', H, W), the channels of each pixel times a matrix (C', C), plus a bias (C',)."""
    pixels = x.flatten(2)
    products = [torch.mm(matrix, p) if bias is None else torch.addmm(bias[:, None], matrix, p) for p in pixels]
    together = products[0][None] if len(products) == 1 else torch.stack(products)  # one image needs no copy
    return together.unflatten(2, x.shape[2:])


def by_onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The 1x1 convolution by oneDNN's kernels, which PyTorch chooses for a dilated one on any number of threads.

    A kernel of one cell is the same at any dilation.
    """
    return F.conv2d(x, weight, bias, dilation=2)


def few_in_nchw(x: Tensor) -> bool:
    """Whether (N, C, H, W) are few images that lie in memory as NCHW."""
    return 0 < len(x) < FEW_IMAGES and x.is_contiguous()
