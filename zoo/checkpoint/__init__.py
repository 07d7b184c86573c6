"""Checkpoint file -> tensors, without running anything that the file says. One module per file format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo.checkpoint.checkpoint import Checkpoint
from zoo.checkpoint.read import read

if TYPE_CHECKING:
    from zoo.checkpoint.convert.load_strict import load_into

__all__ = ["Checkpoint", "load_into", "read"]


def __getattr__(name: str) -> Any:
    if name == "load_into":  # the only part that needs torch at once
        from zoo.checkpoint.convert.load_strict import load_into

        return load_into
    raise AttributeError(f"module 'zoo.checkpoint' has no attribute '{name}'")
