"""Steps of our own in autograd have a first derivative, and say so when a second one is asked for."""

from __future__ import annotations

import torch


def only_first(step: str) -> None:
    """Called in the backward pass of `step`: RuntimeError if that pass is itself recorded (`create_graph=True`).

    PyTorch's `once_differentiable` raises only where the incoming gradient was recorded; of a sum, whose gradient is a
    constant, the second derivative would be zero without a word.
    """
    if torch.is_grad_enabled():
        raise RuntimeError(f"{step} has no second derivative: compute its gradient without create_graph")
