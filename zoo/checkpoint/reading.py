"""`read`: any checkpoint file -> tensors under the published names, and its metadata."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.checkpoint.opening import dispatch, opened
from zoo.checkpoint.selection import select
from zoo.checkpoint.tensors import load_tensors

if TYPE_CHECKING:
    from torch import Tensor


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


def read(path: str | Path) -> Checkpoint:
    """Read a checkpoint without running anything that it says.

    Raises UnsafeCheckpoint when the file asks for code, CorruptCheckpoint when it is broken or no checkpoint.
    """
    path = Path(path)
    with opened(path) as (file, size):
        contents = dispatch(path, file, size)
        refs, meta = select(contents.root)
        return Checkpoint(load_tensors(contents, refs, file), meta, contents.format, path)
