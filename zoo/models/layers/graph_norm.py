"""Group normalization as one operator of a compiled graph.

Where the channels of a cell lie together in memory, the code that PyTorch's compiler generates for it takes about twice
as long as PyTorch's kernel (docs/cpu.md).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.layers.memory_format import by_cells
from zoo.models.layers.tracing import compiled_on_cpu


class GroupNorm(nn.GroupNorm):
    """`torch.nn.GroupNorm`, which a compiled graph for inference on a CPU calls as one operator."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        if compiled_on_cpu(x) and by_cells(x):
            return group_norm_by_cells(x, self.num_groups, self.weight, self.bias, self.eps)
        return super().forward(x)


@torch.library.custom_op("zoo::group_norm_by_cells", mutates_args=(), device_types="cpu")
def group_norm_by_cells(x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """`group_norm` without gradients, float32. groups: of channels, a divisor of C. weight, bias: (C,).

    x, result: (N, C, H, W), the channels of a cell together in memory.
    """
    return F.group_norm(x, groups, weight, bias, eps).contiguous(memory_format=torch.channels_last)


def result_without_numbers(x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """The shape and the layout of the result, which is all that a compiler asks for."""
    return torch.empty_like(x, memory_format=torch.channels_last)


group_norm_by_cells.register_fake(result_without_numbers)
