"""Number formats at the border between networks and what is computed from their outputs."""

from __future__ import annotations

from typing import Any

import torch


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
