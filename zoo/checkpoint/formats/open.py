"""File -> `Contents`: which format it is, decided by its bytes, never by its name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from zoo.checkpoint.formats.contents import Contents
from zoo.checkpoint.formats.plain_pickle import open_pickle
from zoo.checkpoint.formats.safetensors import open_safetensors
from zoo.checkpoint.formats.torch_legacy import MAGIC_BYTES, open_legacy
from zoo.checkpoint.formats.torch_zip import open_zip
from zoo.errors import CorruptCheckpoint, ZooError
from zoo.text import printable


def open_checkpoint(path: str | Path) -> Contents:
    """Read everything but the tensors' bytes. Raises UnsafeCheckpoint, CorruptCheckpoint."""
    path = Path(path)
    with opened(path) as (file, size):
        return dispatch(path, file, size)


@contextmanager
def opened(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """The file and its size; errors raised inside are told with the file's name in front."""
    if path.exists() and not path.is_file():
        raise CorruptCheckpoint(f"{path} is not a regular file.")
    try:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            yield file, size
    except OSError as error:
        raise CorruptCheckpoint(f"{path} cannot be read: {error.strerror or error}.") from None
    except ZooError as error:
        raise type(error)(f"{path} {printable(str(error))}.") from error.__cause__


def dispatch(path: Path, file: BinaryIO, size: int) -> Contents:
    """Choose the reader by the first bytes."""
    head = file.read(512)
    file.seek(0)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return open_zip(path, file, size)
    if MAGIC_BYTES in head[:16]:
        return open_legacy(path, file, size)
    if int.from_bytes(head[:8], "little") <= size and head[8:9] == b"{":
        return open_safetensors(path, file, size)
    if head[:1] == b"\x80" or path.suffix == ".pkl":
        return open_pickle(path, file, size)
    raise CorruptCheckpoint(unknown_format(head))


def unknown_format(head: bytes) -> str:
    """What a file that is not a checkpoint looks like."""
    if not head:
        return "is empty"
    if head.lstrip()[:1] == b"<":
        return "is a web page, not a checkpoint: the server answered with a page instead of the file"
    if head[257:262] == b"ustar":
        return "is a tar archive as torch wrote before 0.1.10; that format is not read"
    return "is not a checkpoint of a known format (torch, pickle of Detectron2, safetensors)"
