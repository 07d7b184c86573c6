"""What opening a checkpoint yields, whatever its format: a structure of refs, and where each storage lies."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from zoo.checkpoint.pickle_reader.rebuild import storage_type
from zoo.checkpoint.pickle_reader.values import StorageRef
from zoo.errors import CorruptCheckpoint


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes `offset` to `offset + nbytes` of the file; `crc` is what the container promises of them, if anything."""

    offset: int
    nbytes: int
    crc: int | None = None


@dataclass(frozen=True, slots=True)
class Contents:
    """An opened checkpoint, before any tensor is read.

    format: "torch (legacy)", "torch (zip)", "pickle" or "safetensors". root: plain data with `TensorRef`s, `ArrayData`
    and `Inert`s. spans: storage key -> where its bytes are.
    """

    path: Path
    format: str
    root: object
    spans: dict[str, Span] = field(default_factory=dict)


def torch_storage(identity: object, storages: dict[str, StorageRef]) -> StorageRef:
    """The storage that torch's persistent id `("storage", type, key, location, numel[, view])` stands for.

    Every storage is entered in `storages`; one key with two sizes or types is an error. Raises CorruptCheckpoint.
    """
    if not isinstance(identity, tuple) or len(identity) not in (5, 6) or identity[0] not in ("storage", b"storage"):
        raise CorruptCheckpoint("refers to something else than a storage outside its pickle")
    _, kind, key, _location, numel = identity[:5]
    if type(numel) is not int or not 0 <= numel < 2**48 or not isinstance(key, (str, int)):
        raise CorruptCheckpoint("refers to a storage of impossible size")
    storage = StorageRef(str(key), storage_type(kind), numel)
    known = storages.setdefault(storage.key, storage)
    if known is not storage and known != storage:
        raise CorruptCheckpoint(f"describes storage {storage.key[:40]} in two different ways")
    view = identity[5] if len(identity) == 6 else None
    return storage if view is None else _view(storage, view)


def _view(storage: StorageRef, view: object) -> StorageRef:
    """Old torch could save a storage that is a part of another: (key, first element, number of elements)."""
    if not isinstance(view, tuple) or len(view) != 3 or any(type(number) is not int for number in view[1:]):
        raise CorruptCheckpoint("describes a part of a storage in an unknown way")
    start, numel = view[1:]
    if start < 0 or numel < 0 or start + numel > storage.numel:
        raise CorruptCheckpoint("describes a part of a storage that exceeds it")
    return StorageRef(storage.key, storage.dtype, storage.numel, start, numel)
