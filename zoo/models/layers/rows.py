"""Layers that treat every row alike, applied to some rows at a time on a CPU.

The first layer of a transformer's feed-forward network makes a map four to eight times as wide as its input. Where that
fills more memory than the C library keeps, the system hands out and clears every page of it, for longer than the
product takes. A piece of 8 MiB is kept, and the numbers are the same bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks

from zoo.models.layers.cpu_choices import LARGE_HIDDEN
from zoo.models.layers.memory_format import eager_on_cpu

PIECE = 8 << 20
"""Bytes of what is between the layers for a piece of rows."""


def by_rows(run: Callable[[Tensor], Tensor], of: nn.Module, x: Tensor, width: int) -> Tensor:
    """`run(x)` of (..., C), of which the result has the shape, some rows at a time where that is faster.

    run: treats every row alike; of: whose modules it uses. Modules with hooks see all rows at once. width: numbers of a
    row between the layers.
    """
    rows = x.numel() // max(x.shape[-1], 1)
    if not eager_on_cpu(x) or 4 * width * rows < LARGE_HIDDEN or are_watched(of.modules()):
        return run(x)
    return pieced(run, x.reshape(rows, x.shape[-1]), max(PIECE // (4 * width), 1)).view(x.shape)


def pieced(run: Callable[[Tensor], Tensor], x: Tensor, step: int) -> Tensor:
    """`run(x)` of (rows, C), of which a result has the shape, `step` rows at a time."""
    out = torch.empty_like(x)
    for have, part in zip(out.split(step), x.split(step)):
        have.copy_(run(part))
    return out


def are_watched(modules: Iterable[nn.Module]) -> bool:
    """Whether hooks wait for what any of the modules is given or returns."""
    anywhere = hooks._global_forward_hooks or hooks._global_forward_pre_hooks
    return bool(anywhere) or any(module._forward_hooks or module._forward_pre_hooks for module in modules)
