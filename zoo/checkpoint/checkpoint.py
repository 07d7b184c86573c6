"""`Checkpoint`: what a checkpoint file holds, and the names under which safetensors keeps it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

META, FORMAT, NAMES = "zoo.meta", "zoo.format", "zoo.names"
"""Keys of a safetensors file's metadata: the checkpoint's metadata as JSON, its original format, the names in order."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint in memory.

    state_dict: parameter or buffer name -> tensor on the CPU. meta: what the training run noted, as plain data (text
    keys, lists, numbers) in which objects of unknown classes are `Inert`. format: how the file was written.
    """

    state_dict: dict[str, Tensor]
    meta: dict[str, object] = field(default_factory=dict)
    format: str = ""
    path: Path | None = None
