"""Devices that tensors can be put on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.errors import UsageError

if TYPE_CHECKING:
    import torch


def usable_device(name: str) -> torch.device:
    """The device called `name`, with its index. Raises UsageError where it cannot hold tensors.

    This imports torch, so commands call it after all other checks.
    """
    import torch

    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(f"device '{name}' cannot be used here: {str(error).splitlines()[0]}") from None
