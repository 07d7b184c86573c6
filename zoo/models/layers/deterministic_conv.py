"""A convolution that gives the same bits on any number of threads.

PyTorch computes a 1x1 convolution as a product of matrices on one thread, but by another library's kernels on several,
which add the input channels up in an order that depends on how many there are. Where a network amplifies rounding, such
as one with many deformable convolutions, whose samples move with it, that can show in its detections. Elsewhere it does
not show, and the product is slower on several threads (docs/cpu.md), so only such networks have it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.layers.cpu_choices import FEW_IMAGES, FEWEST_TILES, LARGE_PRODUCT, MOST_BEYOND, WIDE_CONV
from zoo.models.layers.memory_format import by_cells, eager_on_cpu
from zoo.models.layers.winograd import SIDE, convolve

T = TypeVar("T", bound=nn.Module)
_AS_DEFINED: ContextVar[bool] = ContextVar("as_defined", default=False)


class SteadyConv(nn.Conv2d):
    """`torch.nn.Conv2d` whose 1x1 convolutions are computed as is best on a CPU in inference.

    Once `steady`, they are products of matrices on any number of threads, as they are on one, where each channel is a
    plane of its own in memory. Where the channels of a pixel lie together, as large images' do (see `pixel_by_pixel`),
    oneDNN computes them on one thread too, and 3x3 convolutions of wide maps take fewer multiplications (see
    `winograd`) unless `steady`.
    """

    steady = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        geometry = (self.kernel_size, self.stride, self.padding, self.groups)
        self.is_product = geometry == ((1, 1), (1, 1), (0, 0), 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H', W')."""
        if eager_on_cpu(x) and not self.steady and is_square(self) and saves_by_tiles(x, self.out_channels):
            return convolve(x, self.weight, self.bias)
        if not (self.is_product and eager_on_cpu(x)):
            return super().forward(x)
        alone = torch.get_num_threads() == 1
        if self.steady and not alone and few_in_nchw(x):
            return pointwise(x, self.weight.flatten(1), self.bias)
        if alone and by_cells(x) and x.numel() * self.out_channels >= LARGE_PRODUCT and has_onednn():
            return by_onednn(x, self.weight, self.bias)
        return super().forward(x)


def hold_steady(network: T) -> T:
    """`network`; where its backbone amplifies rounding, by deformable convolutions, with steady 1x1 convolutions."""
    backbone = getattr(network, "backbone", network)
    if any(getattr(module, "amplifies_rounding", False) for module in backbone.modules()):
        for module in network.modules():
            if isinstance(module, SteadyConv):
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


@contextmanager
def as_defined() -> Iterator[None]:
    """Convolutions take the multiplications that define them for a while, so that they can be counted."""
    token = _AS_DEFINED.set(True)
    try:
        yield
    finally:
        _AS_DEFINED.reset(token)


def is_square(conv: nn.Conv2d) -> bool:
    """Whether each output comes from the 3 x 3 cells around it, beyond the border from zeros. RFNext dilates later."""
    geometry = (conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups, conv.padding_mode)
    return geometry == ((3, 3), (1, 1), (1, 1), (1, 1), 1, "zeros")


def saves_by_tiles(x: Tensor, filters: int) -> bool:
    """Whether a 3x3 convolution of (N, C, H, W) is faster by `winograd.convolve`, with so many filters.

    That is where there are many channels on both sides and many tiles of 4 x 4 outputs, which hardly reach beyond the
    map. Autocast would compute in another type.
    """
    tiles = x.shape[0] * -(-x.shape[2] // SIDE) * -(-x.shape[3] // SIDE)
    wide = min(x.shape[1], filters) >= WIDE_CONV[0] and x.shape[1] * filters >= WIDE_CONV[1]
    free = not (_AS_DEFINED.get() or torch.is_autocast_enabled("cpu"))
    fitting = tiles >= FEWEST_TILES and SIDE**2 * tiles <= MOST_BEYOND * x.shape[0] * x.shape[2] * x.shape[3]
    return wide and fitting and free and by_cells(x) and has_onednn()


def has_onednn() -> bool:
    """Whether oneDNN computes convolutions, on a processor where it was measured: x86 with AVX2 or more."""
    return torch.backends.mkldnn.is_available() and torch.backends.cpu.get_cpu_capability().startswith("AVX")


def few_in_nchw(x: Tensor) -> bool:
    """Whether (N, C, H, W) are few images that lie in memory as NCHW."""
    return 0 < len(x) < FEW_IMAGES and x.is_contiguous()
