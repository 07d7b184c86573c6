"""Number formats at the border between networks and what is computed from their outputs."""

from __future__ import annotations

from typing import Any, TypeVar, cast

import torch
from torch import Tensor

T = TypeVar("T")


def full_precision(outputs: T) -> T:
    """A head's outputs, nested in lists, tuples and dictionaries, with all floating-point tensors in float32.

    Half precision is good enough for convolutions, but it rounds many scores to the same value, and boxes to pixels.
    """
    value: Any = outputs
    if torch.is_tensor(value):
        value = value.float() if value.is_floating_point() else value
    elif isinstance(value, dict):
        value = {key: full_precision(part) for key, part in value.items()}
    elif type(value) in (list, tuple):
        value = type(value)(full_precision(part) for part in value)
    return cast(T, value)


def at_least_float32(x: Tensor) -> Tensor:
    """`x`, in float32 if it is of half precision: that cannot say where in a large map a point or region lies."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
