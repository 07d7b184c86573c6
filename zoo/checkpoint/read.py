"""`read`: any checkpoint file -> tensors and metadata."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.checkpoint.formats.contents import Contents
from zoo.checkpoint.formats.open import dispatch, opened
from zoo.checkpoint.state_dict import select
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

    A verified file in the cache is read from its fast copy (`tensor_cache`), which the first read makes.
    Raises UnsafeCheckpoint when the file asks for code, CorruptCheckpoint when it is broken or no checkpoint.
    """
    from zoo.checkpoint import tensor_cache

    path = Path(path)
    copy = tensor_cache.copy_path(path)
    if (contents := tensor_cache.open_copy(copy)) is not None:
        return from_copy(path, contents)
    checkpoint = read_file(path)
    tensor_cache.keep(checkpoint, copy)
    return checkpoint


def read_file(path: Path) -> Checkpoint:
    """Read the file itself."""
    with opened(path) as (file, size):
        contents = dispatch(path, file, size)
        refs, meta = select(contents.root)
        return Checkpoint(load_tensors(contents, refs, file), meta, contents.format, path)


def from_copy(path: Path, contents: Contents) -> Checkpoint:
    """The checkpoint at `path` from its fast copy."""
    from zoo.checkpoint.save import FORMAT
    from zoo.checkpoint.tensor_cache import in_order
    from zoo.checkpoint.tensors import map_tensors

    refs, meta = select(contents.root)
    tensors = map_tensors(contents, refs)
    names = in_order(contents) or []
    assert isinstance(contents.root, dict)
    return Checkpoint({name: tensors[name] for name in names}, meta, contents.root["__metadata__"][FORMAT], path)
