"""Small constants on the device of what they meet: a copy from the host each time would make it wait."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from zoo.models.layers.tracing import recording


def constant(values: tuple[float, ...], like: Tensor) -> Tensor:
    """`like.new_tensor(values)`, kept for the next call. Not to be written to."""
    if torch.jit.is_tracing() or torch.compiler.is_compiling():  # what a graph records belongs to it
        return like.new_tensor(values)
    return kept(values, like.dtype, like.device)


@lru_cache(maxsize=256)
def kept(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """The tensor; it may be used in training later."""
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=dtype, device=device)


def extents(shapes: Sequence[tuple[int, int]], like: Tensor) -> Tensor:
    """(levels, 2), width and height of maps of (h, w), like `like`; not to be written to."""
    sides = [side for h, w in shapes for side in (w, h)]
    if not recording():
        return kept(tuple(sides), like.dtype, like.device).view(-1, 2)
    one = like.new_ones(())  # a tensor of numbers would be a constant of the graph
    return torch.stack([one * side for side in sides]).view(-1, 2)
