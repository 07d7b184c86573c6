"""What a network does after a convolution: normalization, a sum, an activation; in one step where that is possible.

In training, in exported and in compiled graphs these are separate steps. In inference on a CPU a convolution without
batch norm behind it computes its activation, and adds a shortcut, while it writes its result (see `FastConv2d`).
"""

from __future__ import annotations

from torch import Tensor, nn

from zoo.models.layers.fast_conv import FastConv2d
from zoo.models.layers.memory_format import added, eager_on_cpu


def activated(conv: nn.Module, norm: nn.Module | None, activation: nn.Module, x: Tensor) -> Tensor:
    """`activation(norm(conv(x)))` of (N, C, H, W)."""
    if computes_next(conv, norm, x):
        return conv(x, activation)
    x = conv(x)
    return activation(x if norm is None else norm(x))


def activated_sum(
    conv: nn.Module, norm: nn.Module, activation: nn.Module, x: Tensor, shortcut: Tensor, free: bool
) -> Tensor:
    """`activation(norm(conv(x)) + shortcut)` of (N, C, H, W).

    free: the shortcut is needed nowhere else, so that the result may take its memory.
    """
    if free and computes_next(conv, norm, x):
        return conv(x, activation, shortcut)
    return activation(added(norm(conv(x)), shortcut))


def computes_next(conv: nn.Module, norm: nn.Module | None, x: Tensor) -> bool:
    """Whether a convolution may do what follows it: nothing is in between, and it is computed at once."""
    return (norm is None or type(norm) is nn.Identity) and type(conv) is FastConv2d and eager_on_cpu(x)
