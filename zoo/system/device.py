"""Devices that tensors can be put on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.errors import UsageError

UNSUPPORTED = ("mps", "xpu")
"""Devices that PyTorch has but whose clocks, memory and random numbers nothing here reads: times would be wrong."""

if TYPE_CHECKING:
    import torch


def usable_device(name: str) -> torch.device:
    """The device called `name`, with its index. Raises UsageError where it cannot hold tensors, or is not supported.

    This imports torch, so commands call it after all other checks.
    """
    import torch

    kind = name.partition(":")[0]
    if kind in UNSUPPORTED:
        raise UsageError(f"device '{name}' is not supported: its clock and memory cannot be read; use cpu or cuda.")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(f"device '{name}' cannot be used here: {str(error).splitlines()[0]}") from None
