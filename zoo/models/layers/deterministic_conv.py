"""A convolution that gives the same bits on any number of threads.

PyTorch computes a 1x1 convolution as a product of matrices on one thread, but by another library's kernels on several,
which add the input channels up in an order that depends on how many there are. Where a network amplifies rounding, such
as one with many deformable convolutions, whose samples move with it, that can show in its detections. Elsewhere it does
not show, and the product is slower on several threads (docs/cpu.md), so only such networks have it.
"""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from zoo.models.layers.cpu_choices import FEW_IMAGES
from zoo.models.layers.memory_format import eager_on_cpu

T = TypeVar("T", bound=nn.Module)


class SteadyConv(nn.Conv2d):
    """`torch.nn.Conv2d`; once `steady`, a 1x1 convolution is a product of matrices, as it is on one thread.

    Only on a CPU in inference, and where each channel is a plane of its own in memory, which large images' are not (see
    `pixel_by_pixel`).
    """

    steady = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        geometry = (self.kernel_size, self.stride, self.padding, self.groups)
        self.is_product = geometry == ((1, 1), (1, 1), (0, 0), 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H', W')."""
        if not (self.steady and self.is_product and eager_on_cpu(x) and few_in_nchw(x) and torch.get_num_threads() > 1):
            return super().forward(x)
        return pointwise(x, self.weight.flatten(1), self.bias)


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


def few_in_nchw(x: Tensor) -> bool:
    """Whether (N, C, H, W) are few images that lie in memory as NCHW."""
    return 0 < len(x) < FEW_IMAGES and x.is_contiguous()
