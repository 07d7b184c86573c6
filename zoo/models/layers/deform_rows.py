"""Deformable convolutions on a CPU: samples as weighted sums of rows, then products with the filters.

torchvision's operator samples number by number, on one thread.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from zoo.models.layers.cpu_choices import WIDE_SAMPLE
from zoo.models.layers.memory_format import by_cells, eager_on_cpu
from zoo.models.layers.sampled_rows import MOST_CELLS, corners, sums
from zoo.models.layers.winograd_choice import as_is_best

# Outputs at a time: their samples stay in the processor's cache.
OUTPUTS = 512


class Kernel(NamedTuple):
    """The geometry of a convolution, each down and across."""

    size: Sequence[int]
    stride: Sequence[int]
    padding: Sequence[int]
    dilation: Sequence[int]

    def starts(self, axis: int, count: int, like: Tensor) -> Tensor:
        """Where the samples of `count` outputs are along an axis without offsets: (count, size)."""
        outputs, elements = (torch.arange(n, dtype=like.dtype, device=like.device) for n in (count, self.size[axis]))
        return outputs[:, None] * self.stride[axis] - self.padding[axis] + elements * self.dilation[axis]


def samples_rows(x: Tensor, offset: Tensor, weight: Tensor, mask: Tensor | None) -> bool:
    """Whether a deformable convolution is computed so: in inference, of float32 numbers, on a CPU."""
    given = [x, offset, weight] if mask is None else [x, offset, weight, mask]
    together = x.shape[1] * 2 * weight.shape[2] * weight.shape[3] // max(offset.shape[1], 1)
    fits = together >= WIDE_SAMPLE and 0 < x.shape[2] * x.shape[3] <= MOST_CELLS
    return fits and as_is_best() and all(map(eager_on_cpu, given))


def convolve_rows(
    x: Tensor, offset: Tensor, weight: Tensor, bias: Tensor | None, kernel: Kernel, mask: Tensor | None = None
) -> Tensor:
    """What `torchvision.ops.deform_conv2d` gives, in the layout of `x`."""
    channels, out_size, elements = x.shape[1], offset.shape[2:], weight[0, 0].numel()
    moving, groups = offset.shape[1] // (2 * elements), channels // weight.shape[1]
    filters = weight.permute(0, 2, 3, 1).reshape(groups, len(weight) // groups, -1).transpose(1, 2)
    result = x.new_empty(len(x), out_size.numel(), len(weight))
    for image, outputs in enumerate(result):
        table = x[image].permute(1, 2, 0).reshape(-1, channels // moving)
        rows, shares = samples(x[image], offset[image], None if mask is None else mask[image], kernel)
        for some, weights, part in zip(*(whole.split(OUTPUTS) for whole in (rows, shares, outputs))):
            columns = sums(table, some.view(-1, 4), weights.view(-1, 4))
            part.copy_(products(columns.view(len(part), elements, channels), filters))
    maps = (result if bias is None else result.add_(bias)).unflatten(1, out_size).permute(0, 3, 1, 2)
    return maps if by_cells(x) else maps.contiguous()


def samples(x: Tensor, offset: Tensor, mask: Tensor | None, kernel: Kernel) -> tuple[Tensor, Tensor]:
    """The four rows around each sample and their weights, (outputs, elements * G, 4), where G groups move together.

    x: (C, H, W). offset: (G * elements * 2, H', W'). mask: (G * elements, H', W').
    """
    elements, outputs = kernel.size[0] * kernel.size[1], offset[0].numel()
    groups = len(offset) // (2 * elements)
    down, across = positions(offset, kernel, groups)
    shares = None if mask is None else mask.reshape(groups, elements, outputs).permute(2, 1, 0).flatten(1)
    height, width = (x.new_tensor(side) for side in x.shape[1:])
    cells, weights = corners(across, down, shares, width, height)
    group = torch.arange(groups, dtype=torch.int32, device=x.device).repeat(elements)[:, None]
    return cells.int().mul_(groups).add_(group), weights


def positions(offset: Tensor, kernel: Kernel, groups: int) -> Iterator[Tensor]:
    """Where the samples of all outputs are, down and across, in cells: (outputs, elements * groups) each."""
    height, width = offset.shape[1:]
    moved = offset.reshape(groups, -1, 2, height * width).permute(2, 3, 1, 0)
    down = kernel.starts(0, height, offset)[:, None, :, None].expand(-1, width, -1, kernel.size[1])
    across = kernel.starts(1, width, offset)[None, :, None, :].expand(height, -1, kernel.size[0], -1)
    return ((start.reshape(*by.shape[:2], 1) + by).flatten(1) for start, by in zip((down, across), moved))


def products(columns: Tensor, filters: Tensor) -> Tensor:
    """(Q, K) of samples (Q, elements, C) and filters (groups, elements * C / groups, K / groups)."""
    if len(filters) == 1:
        return columns.flatten(1) @ filters[0]
    by_group = columns.unflatten(2, (len(filters), -1)).permute(2, 0, 1, 3).flatten(2)
    return torch.bmm(by_group, filters).transpose(0, 1).flatten(1)
