"""Files that are either the old one or the new one, never half of one."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: Path, suffix: str = ".part", *, parents: bool = False) -> Iterator[Path]:
    """A temporary file beside `path` to write; it takes the place of `path` when the block ends without an error.

    suffix: the end of the temporary name, for writers that choose a format by it. parents: make missing folders.
    Raises OSError where the file cannot be written; nothing of it is left then.
    """
    if parents:
        path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}{suffix}")
    try:
        temporary.touch()  # a folder that is missing or cannot be written is noticed before the work
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def atomic_write(path: Path, content: str | bytes, *, parents: bool = False) -> None:
    """Write a whole file, text as UTF-8. parents: make missing folders. Raises OSError."""
    with atomic_path(path, parents=parents) as temporary:
        temporary.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
