"""Switchable atrous convolution (Qiao et al., DetectoRS, 2020, section 4)."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.layers.deform_conv import deform_conv2d
from zoo.models.layers.weight_standardization import ConvAWS

ATROUS_FACTOR = 3


class SAC(ConvAWS):
    """Per pixel a blend of the same convolution at the given dilation and at three times that.

    The weights at the larger dilation differ by `weight_diff`; a global context is added before and after.
    use_deform: both convolutions are deformable (v1), for 3x3 kernels. The other arguments are those of `Conv2d`.
    """

    def __init__(self, *args: Any, use_deform: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        stride: Any = self.stride
        self.switch = nn.Conv2d(self.in_channels, 1, 1, stride=stride)
        self.weight_diff = nn.Parameter(self.weight.new_zeros(self.weight.shape))
        self.pre_context = nn.Conv2d(self.in_channels, self.in_channels, 1)
        self.post_context = nn.Conv2d(self.out_channels, self.out_channels, 1)
        self.offset_s = nn.Conv2d(self.in_channels, 18, 3, stride=stride, padding=1) if use_deform else None
        self.offset_l = nn.Conv2d(self.in_channels, 18, 3, stride=stride, padding=1) if use_deform else None
        self.start_neutral()

    def start_neutral(self) -> None:
        """At first the layer is the plain convolution."""
        for conv in (self.switch, self.pre_context, self.post_context, self.offset_s, self.offset_l):
            if conv is not None:
                nn.init.zeros_(conv.weight)
                nn.init.constant_(conv.bias, float(conv is self.switch))  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H', W')."""
        x = x + self.pre_context(F.adaptive_avg_pool2d(x, 1))
        around = F.avg_pool2d(F.pad(x, (2, 2, 2, 2), mode="reflect"), kernel_size=5, stride=1)
        switch, weight = self.switch(around), self.standardized()
        near = self.convolve(x, around, weight, self.offset_s, 1)
        far = self.convolve(x, around, weight + self.weight_diff, self.offset_l, ATROUS_FACTOR)
        out = switch * near + (1 - switch) * far
        return out + self.post_context(F.adaptive_avg_pool2d(out, 1))

    def convolve(self, x: Tensor, around: Tensor, weight: Tensor, offset: nn.Conv2d | None, factor: int) -> Tensor:
        """`x` (N, in_channels, H, W) convolved at `factor` times the dilation."""
        padding, dilation = ([factor * v for v in values] for values in (self.padding, self.dilation))
        if offset is None:
            return F.conv2d(x, weight, None, self.stride, padding, dilation, self.groups)  # type: ignore[arg-type]
        return deform_conv2d(x, offset(around), weight, None, self.stride, padding, dilation)  # type: ignore[arg-type]
