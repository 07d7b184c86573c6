"""Checkpoint file -> tensors, without running anything that the file says. One module per file format."""

from __future__ import annotations

from zoo.checkpoint.into import load_into
from zoo.checkpoint.reading import Checkpoint, read

__all__ = ["Checkpoint", "load_into", "read"]
