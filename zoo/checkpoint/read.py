"""`read`: any checkpoint file -> tensors and metadata."""

from __future__ import annotations

from pathlib import Path

from zoo.checkpoint import tensor_cache
from zoo.checkpoint.checkpoint import FORMAT, Checkpoint
from zoo.checkpoint.formats.contents import Contents
from zoo.checkpoint.formats.open import dispatch, opened
from zoo.checkpoint.state_dict import select
from zoo.checkpoint.tensors import load_tensors, map_tensors


def read(path: str | Path) -> Checkpoint:
    """Read a checkpoint without running anything that it says.

    A verified file in the cache is read from its fast copy (`tensor_cache`), which the first read makes.
    Raises UnsafeCheckpoint when the file asks for code, CorruptCheckpoint when it is broken or no checkpoint.
    """
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
    refs, meta = select(contents.root)
    tensors = map_tensors(contents, refs)
    names = tensor_cache.in_order(contents) or []
    assert isinstance(contents.root, dict)
    return Checkpoint({name: tensors[name] for name in names}, meta, contents.root["__metadata__"][FORMAT], path)
