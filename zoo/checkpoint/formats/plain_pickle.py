"""One plain pickle with numpy arrays inside: the `.pkl` files of Detectron2's model zoo."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from zoo.checkpoint.formats.contents import Contents
from zoo.checkpoint.pickle_reader.reader import read_pickle
from zoo.errors import CorruptCheckpoint


def open_pickle(path: Path, file: BinaryIO, size: int) -> Contents:
    """Open a plain pickle. Raises UnsafeCheckpoint, CorruptCheckpoint."""
    root = read_pickle(file, size, skip=True)
    if file.tell() != size:
        raise CorruptCheckpoint(f"has {size - file.tell()} bytes behind its pickle")
    return Contents(path, "pickle", root)
