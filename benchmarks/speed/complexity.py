"""How big a network is: parameters, and floating-point operations for one input."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from benchmarks.speed.workload import Workload
from zoo.models.operations import counted_operations


def parameters(model: nn.Module) -> int:
    """Number of parameters, batch norm statistics not among them."""
    return sum(p.numel() for p in model.parameters())


def flops(workload: Workload, batch: Any) -> int:
    """Operations of one batch, a multiply-add as two, from first layer to last.

    Counted by PyTorch while it runs: convolutions, matrix products and attention. Deformable convolution, NMS and
    element-wise work are not in it. (The zoo's published GFLOPs count a multiply-add as one.)
    """
    with counted_operations() as counter, fixed(workload):
        workload.compute(batch)
    return int(counter.get_total_flops())


@contextmanager
def fixed(workload: Any) -> Iterator[None]:
    """The network's parameters without gradients for a while.

    Up to PyTorch 2.11 the counter fails at inputs that require gradients, such as DETR's queries, where there are none.
    """
    trained = [p for p in getattr(workload, "model", nn.Module()).parameters() if p.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
