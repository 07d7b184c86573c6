"""A 3x3 convolution as one operator of a compiled graph, which is computed as is best for the maps of each call.

A compiler would compute it by PyTorch's kernels, and a choice by the size of a map would tie its graph to that size.
The graph calls this operator instead, which chooses when it runs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.layers.memory_format import by_cells
from zoo.models.layers.packed_filters import packed
from zoo.models.layers.tracing import compiled_on_cpu
from zoo.models.layers.winograd import available, convolve
from zoo.models.layers.winograd_choice import as_is_best, fits_tiles, is_wide


def gains_in_graph(conv: nn.Conv2d, x: Tensor) -> bool:
    """Whether a compiler makes a graph for inference on a CPU, where `conv_by_cells` may be the faster convolution."""
    return compiled_on_cpu(x) and conv.weight.dtype == torch.float32 and is_wide(conv) and by_cells(x)


@torch.library.custom_op("zoo::conv_by_cells", mutates_args=(), device_types="cpu")
def conv_by_cells(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`conv2d(x, weight, bias, padding=1)` without gradients, float32.

    x: (N, C, H, W). weight: (K, C, 3, 3). bias: (K,). Returns (N, K, H, W), the channels of a cell together in memory.
    """
    if as_is_best() and fits_tiles(x) and available():
        return convolve(x, packed(weight), bias)
    return F.conv2d(x, weight, bias, padding=1).contiguous(memory_format=torch.channels_last)


def result_without_numbers(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The shape and the layout of the result, which is all that a compiler asks for."""
    shape = (x.shape[0], weight.shape[0], *x.shape[2:])
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


conv_by_cells.register_fake(result_without_numbers)
