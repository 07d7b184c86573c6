"""Many small tensors from the device to the host, and back, in one copy each: for every copy the host waits once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def on_host(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The tensors, all of one type and on one device, on the CPU."""
    if not tensors:
        return []
    together = torch.cat([x.detach().flatten() for x in tensors]).cpu()
    return shaped_like(together, tensors)


def on_device(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """The tensors, all of one type and on the CPU, on a device; the host goes on meanwhile."""
    if not tensors:
        return []
    return shaped_like(torch.cat([x.flatten() for x in tensors]).to(device, non_blocking=True), tensors)


def shaped_like(together: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
    """The values of all tensors, as tensors of their shapes."""
    parts = together.split([x.numel() for x in tensors])
    return [part.view(x.shape) for part, x in zip(parts, tensors)]
