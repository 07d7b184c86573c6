"""Number formats at the border between networks and what is computed from their outputs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def full_precision(outputs: Any) -> Any:
    """A head's outputs, nested in lists, tuples and dictionaries, with all floating-point tensors in float32.

    Half precision is good enough for convolutions, but it rounds many scores to the same value, and boxes to pixels.
    """
    if torch.is_tensor(outputs):
        return outputs.float() if outputs.is_floating_point() else outputs
    if isinstance(outputs, dict):
        return {key: full_precision(value) for key, value in outputs.items()}
    if type(outputs) in (list, tuple):
        return type(outputs)(full_precision(value) for value in outputs)
    return outputs


def at_least_float32(x: Tensor) -> Tensor:
    """`x`, in float32 if it is of half precision: that cannot say where in a large map a point or region lies."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
