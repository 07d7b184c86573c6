"""Counting floating-point operations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.utils.flop_counter import FlopCounterMode

from zoo.models.layers.winograd_choice import as_defined


@contextmanager
def counted_operations() -> Iterator[FlopCounterMode]:
    """Count what runs in the block, a multiply-add as two: convolutions, matrix products and attention.

    A convolution counts as it is defined, however it is computed. Ask `get_total_flops()` afterwards.
    """
    with FlopCounterMode(display=False) as counter, torch.no_grad(), as_defined():
        yield counter
