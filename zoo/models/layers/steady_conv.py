"""A convolution that gives the same bits on any number of threads.

PyTorch computes a 1x1 convolution as a product of matrices on one thread, but by another library's kernels on several,
which add the input channels up in an order that depends on how many there are. Where a network amplifies rounding, such
as one with many deformable convolutions, whose samples move with it, that can show in its detections.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.layers.memory import eager_on_cpu

# From so many pictures on, PyTorch takes the same kernels on one thread as on several.
MANY = 16


class SteadyConv(nn.Conv2d):
    """`torch.nn.Conv2d`; on a CPU in inference a 1x1 convolution is a product of matrices, as it is on one thread.

    Only where each channel is a plane of its own in memory, which large pictures' are not (see `pixel_by_pixel`).
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        geometry = (self.kernel_size, self.stride, self.padding, self.groups)
        self.is_product = geometry == ((1, 1), (1, 1), (0, 0), 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H', W')."""
        if not (self.is_product and eager_on_cpu(x) and by_planes(x) and torch.get_num_threads() > 1):
            return super().forward(x)
        product: Tensor = torch.ops.aten.thnn_conv2d(x, self.weight, self.kernel_size, self.bias)
        return product


def by_planes(x: Tensor) -> bool:
    """Whether (N, C, H, W) are few pictures, each channel of which is a plane of its own in memory."""
    return len(x) < MANY and x.is_contiguous()
