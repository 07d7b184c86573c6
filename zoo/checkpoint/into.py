"""Tensors into a network, strictly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.checkpoint.reading import Checkpoint
from zoo.errors import MismatchedCheckpoint

if TYPE_CHECKING:
    from torch import nn


def load_into(model: nn.Module, checkpoint: Checkpoint) -> None:
    """Copy a checkpoint's tensors into a network whose names and shapes are exactly the same.

    Raises MismatchedCheckpoint, having changed nothing.
    """
    have, want = checkpoint.state_dict, model.state_dict()
    missing = [n for n in want if n not in have]
    unexpected = [n for n in have if n not in want]
    shapes = [n for n in want if n in have and want[n].shape != have[n].shape]
    if missing or unexpected or shapes:
        first = (missing + unexpected + shapes)[0]
        raise MismatchedCheckpoint(
            f"{checkpoint.path}: does not fit {type(model).__name__}: {len(missing)} missing, {len(unexpected)} "
            f"unexpected, {len(shapes)} of another shape; first {first}"
        )
    model.load_state_dict(have)
