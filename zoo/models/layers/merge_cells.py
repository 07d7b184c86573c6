"""Cells that merge two feature maps of a searched pyramid (Ghiasi et al., NAS-FPN, 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.errors import BuildError
from zoo.models.layers.conv_module import ConvModule

SAME_SIZE = {"kernel_size": 3, "padding": 1, "bias": True}
ACT_FIRST = ("act", "conv", "norm")
OPERATIONS = ("sum", "concat", "global_pool")


class MergeCell(nn.Module):
    """Two maps, each optionally convolved, brought to one size, merged, and optionally convolved.

    operation: "sum"; "concat"; "global_pool", which adds the first map scaled by the second one's attention.
    out_conv: arguments of the last `ConvModule`, None for no convolution. input_convs: which of the two inputs are
    convolved, with `input_conv_cfg` and `input_norm_cfg`.
    """

    def __init__(
        self,
        channels: int,
        operation: str,
        out_conv: Mapping[str, Any] | None = SAME_SIZE,
        out_norm_cfg: Mapping[str, Any] | None = None,
        out_conv_order: tuple[str, ...] = ACT_FIRST,
        input_convs: tuple[bool, bool] = (False, False),
        input_conv_cfg: Mapping[str, Any] | None = None,
        input_norm_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if operation not in OPERATIONS:
            raise BuildError(f"two maps cannot be merged by '{operation}'; known: {', '.join(OPERATIONS)}")
        self.operation = operation
        merged = channels * (2 if operation == "concat" else 1)
        self.out_conv: nn.Module | None = None
        if out_conv is not None:
            self.out_conv = ConvModule(merged, channels, **out_conv, norm_cfg=out_norm_cfg, order=out_conv_order)
        options: dict[str, Any] = {"padding": 1, "conv_cfg": input_conv_cfg, "norm_cfg": input_norm_cfg, "bias": True}
        self.input1_conv, self.input2_conv = (
            ConvModule(channels, channels, 3, **options) if convolve else nn.Identity() for convolve in input_convs
        )

    def forward(self, first: Tensor, second: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """(N, C, H, W) of two sizes to (N, C, *size), by default the larger of the two."""
        target: tuple[int, ...] = size or max(first.shape[2:], second.shape[2:])
        merged = self.merge(resize(self.input1_conv(first), target), resize(self.input2_conv(second), target))
        return merged if self.out_conv is None else self.out_conv(merged)

    def merge(self, first: Tensor, second: Tensor) -> Tensor:
        """Two maps of equal size to one."""
        if self.operation == "sum":
            return first + second
        if self.operation == "concat":
            return torch.cat([first, second], dim=1)
        return second + F.adaptive_avg_pool2d(second, 1).sigmoid() * first


def resize(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """`x` (N, C, H, W) at another size: nearest neighbor upwards, maximum of equal cells downwards."""
    height, width = x.shape[2:]
    if (height, width) == tuple(size):
        return x
    if (height, width) < tuple(size):  # by height first, as in the reference
        return F.interpolate(x, size=size, mode="nearest")
    cell = (height + size[0] - 1) // size[0], (width + size[1] - 1) // size[1]
    extra_y, extra_x = cell[0] * size[0] - height, cell[1] * size[1] - width
    padding = (extra_x // 2, extra_x - extra_x // 2, extra_y // 2, extra_y - extra_y // 2)
    return F.max_pool2d(F.pad(x, padding), cell, stride=cell)
