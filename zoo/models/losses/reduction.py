"""From element-wise losses to one number."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

# Added to an average factor, so that a batch without anything to average over gives zero.
EPSILON = torch.finfo(torch.float32).eps


def reduce_loss(
    loss: Tensor, weight: Tensor | None, reduction: str, avg_factor: float | Tensor | None = None
) -> Tensor:
    """Weighted, then summed, averaged or left alone.

    reduction: "none", "mean" or "sum". avg_factor: a mean divides by this instead of the number of elements.
    """
    if weight is not None:
        loss = loss * weight
    if reduction == "none":
        return loss
    if reduction == "sum":
        return loss.sum()
    return loss.mean() if avg_factor is None else loss.sum() / (avg_factor + EPSILON)


def mean_over_processes(value: Tensor) -> Tensor:
    """The mean of a number over all training processes; the number itself without distribution."""
    if not (dist.is_available() and dist.is_initialized()):
        return value
    value = value.clone()
    dist.all_reduce(value.div_(dist.get_world_size()))
    return value
