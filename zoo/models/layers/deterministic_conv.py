"""A convolution that gives the same bits on any number of threads.

PyTorch computes a 1x1 convolution as a product of matrices on one thread, but by another library's kernels on several,
which add the input channels up in an order that depends on how many there are. Where a network amplifies rounding, such
as one with many deformable convolutions, whose samples move with it, that can show in its detections. Elsewhere it does
not show, and the product is slower on several threads (docs/cpu.md), so only such networks have it.
"""

from __future__ import annotations

from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.layers.cpu_choices import FEW_IMAGES, LARGE_PRODUCT
from zoo.models.layers.memory_format import by_cells, eager_on_cpu

T = TypeVar("T", bound=nn.Module)


class SteadyConv(nn.Conv2d):
    """`torch.nn.Conv2d` whose 1x1 convolutions are computed as is best on a CPU in inference.

    Once `steady`, they are products of matrices on any number of threads, as they are on one, where each channel is a
    plane of its own in memory. Where the channels of a pixel lie together, as large images' do (see `pixel_by_pixel`),
    oneDNN computes them on one thread too.
    """

    steady = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        geometry = (self.kernel_size, self.stride, self.padding, self.groups)
        self.is_product = geometry == ((1, 1), (1, 1), (0, 0), 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H', W')."""
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


def has_onednn() -> bool:
    """Whether oneDNN computes convolutions, on a processor where it was measured: x86 with AVX2 or more."""
    return torch.backends.mkldnn.is_available() and torch.backends.cpu.get_cpu_capability().startswith("AVX")


def few_in_nchw(x: Tensor) -> bool:
    """Whether (N, C, H, W) are few images that lie in memory as NCHW."""
    return 0 < len(x) < FEW_IMAGES and x.is_contiguous()
