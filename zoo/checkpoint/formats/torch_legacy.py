"""torch's legacy format: five pickles in a row, then the bytes of the storages.

    magic number, protocol version, facts about the writing system, the object, the order of the storages
    and per storage: its number of elements (int64), its elements (little-endian)

MMDetection's publishing script writes it. All five pickles go through the restricted reader.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from zoo.checkpoint.formats.contents import Contents, Span, torch_storage
from zoo.checkpoint.pickle_reader.reader import read_pickle
from zoo.checkpoint.pickle_reader.values import ITEM_SIZES, StorageRef
from zoo.errors import CorruptCheckpoint

MAGIC = 0x1950A86A20F9469CFC6C
# The pickle of the magic number, up to its STOP: a long of ten bytes.
MAGIC_BYTES = b"\x8a\x0a" + MAGIC.to_bytes(10, "little")
PROTOCOL = 1001


def open_legacy(path: Path, file: BinaryIO, size: int) -> Contents:
    """Open a legacy file. Raises UnsafeCheckpoint, CorruptCheckpoint."""
    if read_pickle(file, size) != MAGIC or read_pickle(file, size) != PROTOCOL:
        raise CorruptCheckpoint("is not a torch checkpoint of a known version")
    check_system(read_pickle(file, size))
    storages: dict[str, StorageRef] = {}
    root = read_pickle(file, size, lambda identity: torch_storage(identity, storages))
    keys = read_pickle(file, size)
    if not isinstance(keys, list) or not all(isinstance(key, (str, int)) for key in keys):
        raise CorruptCheckpoint("lists its storages in an unknown way")
    if sorted(map(str, keys)) != sorted(storages):
        raise CorruptCheckpoint("lists other storages than its tensors use")
    return Contents(path, "torch (legacy)", root, locate(file, size, [storages[str(key)] for key in keys]))


def check_system(facts: object) -> None:
    """Only little-endian files are read: no other were published. Raises CorruptCheckpoint."""
    if not isinstance(facts, dict) or facts.get("little_endian") is not True:
        raise CorruptCheckpoint("does not say that it was written on a little-endian machine")


def locate(file: BinaryIO, size: int, storages: list[StorageRef]) -> dict[str, Span]:
    """Where each storage's elements are; they must fill the file exactly. Raises CorruptCheckpoint."""
    spans: dict[str, Span] = {}
    position = file.tell()
    for storage in storages:
        file.seek(position)
        header = file.read(8)
        position += 8
        if len(header) < 8 or position + storage.nbytes > size:
            raise CorruptCheckpoint(f"is truncated: tensor data reaches beyond its end at byte {size}")
        if struct.unpack("<q", header)[0] != storage.numel:
            raise CorruptCheckpoint(f"stores {struct.unpack('<q', header)[0]} elements where {storage.numel} belong")
        spans[storage.key] = Span(position, storage.numel * ITEM_SIZES[storage.dtype])
        position += storage.nbytes
    if position != size:
        raise CorruptCheckpoint(f"has {size - position} bytes behind its last tensor")
    return spans
