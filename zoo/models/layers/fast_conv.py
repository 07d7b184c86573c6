"""A convolution that takes the fastest of several equal ways on a CPU, or the one that gives the same bits everywhere.

PyTorch computes a 1x1 convolution as a product of matrices on one thread, but by another library's kernels on several,
which add the input channels up in an order that depends on how many there are. Where a network amplifies rounding, such
as one with many deformable convolutions, whose samples move with it, that can show in its detections. Elsewhere it does
not show, and the product is slower on several threads (docs/cpu.md), so only such networks have it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.layers.cpu_choices import FEW_IMAGES, LARGE_PRODUCT
from zoo.models.layers.memory_format import by_cells, eager_on_cpu
from zoo.models.layers.winograd import Filters, convolve, has_onednn, pack
from zoo.models.layers.winograd_choice import saves_by_tiles, saves_by_tiles_in_training
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
    _filters: Filters | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        geometry = (self.kernel_size, self.stride, self.padding, self.groups)
        self.is_product = geometry == ((1, 1), (1, 1), (0, 0), 1)
        self._filters = None

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H', W')."""
        if eager_on_cpu(x) and not self.steady and saves_by_tiles(self, x):
            return convolve(x, self.filters(), self.bias)
        if not self.steady and saves_by_tiles_in_training(self, x):
            return convolve_for_gradients(x, self.weight, self.bias)
        if not (self.is_product and eager_on_cpu(x)):
            return super().forward(x)
        alone = torch.get_num_threads() == 1
        if self.steady and not alone and few_in_nchw(x):
            return pointwise(x, self.weight.flatten(1), self.bias)
        if alone and by_cells(x) and x.numel() * self.out_channels >= LARGE_PRODUCT and has_onednn():
            return by_onednn(x, self.weight, self.bias)
        return super().forward(x)

    def filters(self) -> Filters:
        """What `winograd.convolve` needs of the weight as it is now."""
        filters = self._filters
        if filters is None or not filters.are_for(self.weight):
            self._filters = filters = pack(self.weight)
        return filters

    def train(self, mode: bool = True) -> Self:
        """Set the mode; nothing is kept for training."""
        if mode:
            self._filters = None
        return super().train(mode)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move or convert the layer; nothing is kept for the weight that it had."""
        self._filters = None
        return super()._apply(fn, recurse)

    def __getstate__(self) -> dict[str, Any]:
        """Without what is made anew: a copy or a file has the weight alone."""
        return {**self.__dict__, "_filters": None}


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
