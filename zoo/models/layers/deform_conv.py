"""Deformable convolutions (Dai et al., 2017; with modulation: Zhu et al., DCNv2, 2018).

Offsets are pairs (dy, dx) in input pixels, one per deformable group and kernel element; samples are bilinear and zero
outside the input.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision import ops

from zoo.models.layers.deform_rows import Kernel, convolve_rows, samples_rows
from zoo.models.layers.pair import pair

Geometry = Any  # a number for both axes, or one for each


def deform_conv2d(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Geometry = 1,
    padding: Geometry = 0,
    dilation: Geometry = 1,
    mask: Tensor | None = None,
) -> Tensor:
    """`torchvision.ops.deform_conv2d` for every number format.

    Its kernels know neither bfloat16 nor mixed formats, such as autocast's: those are computed in float32, since
    offsets need more digits than they have. The result has the format of `x`. In inference on a CPU, samples are sums
    of rows (`deform_rows`).
    """
    if samples_rows(x, offset, weight, mask):
        kernel = Kernel(weight.shape[2:], *(pair(value) for value in (stride, padding, dilation)))
        return convolve_rows(x, offset, weight, bias, kernel, mask)
    given = [x, offset, weight, bias, mask]
    formats = {t.dtype for t in given if t is not None}
    if len(formats) > 1 or torch.bfloat16 in formats:
        x, offset, weight, bias, mask = (None if t is None else t.float() for t in given)  # type: ignore[assignment]
    out = ops.deform_conv2d(x, offset, weight, bias, stride, padding, dilation, mask)  # type: ignore[arg-type]
    return out.to(given[0].dtype)  # type: ignore[union-attr]


class DeformConv(nn.Conv2d):
    """A convolution that samples at offsets which the caller gives; `deform_groups` groups of channels move together.

    Further arguments are those of `torch.nn.Conv2d`. deformable_groups: the older name of `deform_groups`.
    """

    amplifies_rounding = True  # samples move with the last digits of what came before; see `hold_steady`

    def __init__(
        self,
        *args: Any,
        bias: bool = False,
        deform_groups: int = 1,
        deformable_groups: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, bias=bias, **kwargs)  # type: ignore[misc]
        self.deform_groups = deformable_groups or deform_groups

    def forward(  # type: ignore[override]
        self, x: Tensor, offset: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H', W').

        offset: (N, 2 * deform_groups * kh * kw, H', W'), (dy, dx) per kernel element. mask: factors for the samples,
        (N, deform_groups * kh * kw, H', W').
        """
        return deform_conv2d(
            x,
            offset,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.dilation,
            mask,  # type: ignore[arg-type]
        )


class DCN(DeformConv):
    """A deformable convolution that predicts its own offsets."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conv_offset = companion(self, 2)

    def start_neutral(self) -> None:
        """Offsets of zero: at first the layer is a plain convolution."""
        zero(self.conv_offset)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """(N, in_channels, H, W) to (N, out_channels, H', W')."""
        return super().forward(x, self.conv_offset(x))


class DCNv2(DeformConv):
    """A deformable convolution that predicts its own offsets and a factor in (0, 1) for each sample."""

    def __init__(self, *args: Any, bias: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, bias=bias, **kwargs)
        self.conv_offset = companion(self, 3)

    def start_neutral(self) -> None:
        """Offsets of zero and factors of a half: at first the layer is a plain convolution."""
        zero(self.conv_offset)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """(N, in_channels, H, W) to (N, out_channels, H', W')."""
        first, second, mask = self.conv_offset(x).chunk(3, dim=1)
        return super().forward(x, torch.cat((first, second), dim=1), mask.sigmoid())


def companion(conv: DeformConv, per_element: int) -> nn.Conv2d:
    """A convolution of zeros with the geometry of `conv` and `per_element` outputs per kernel element."""
    outputs = per_element * conv.deform_groups * conv.kernel_size[0] * conv.kernel_size[1]
    geometry: Any = (conv.kernel_size, conv.stride, conv.padding, conv.dilation)
    offsets = nn.Conv2d(conv.in_channels, outputs, *geometry)
    zero(offsets)
    return offsets


def zero(conv: nn.Conv2d) -> None:
    """Weight and bias of zero."""
    nn.init.zeros_(conv.weight)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]


def kernel_elements(kernel_size: int, like: Tensor) -> Tensor:
    """Where the elements of a square kernel are: (1, 2 * k * k, 1, 1), dy and dx from its center, row by row.

    An offset that is to reach a given point is that point less the element's own position.
    """
    reach = (kernel_size - 1) // 2
    line = torch.arange(-reach, reach + 1, device=like.device, dtype=like.dtype)
    return torch.stack(torch.meshgrid(line, line, indexing="ij"), dim=-1).view(1, -1, 1, 1)
