"""Refs -> tensors: the only part of reading that needs torch."""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, BinaryIO

from zoo.checkpoint.formats.contents import Contents, Span
from zoo.checkpoint.pickle_reader.values import ITEM_SIZES, ArrayData, Slice, StorageRef, TensorRef
from zoo.errors import CorruptCheckpoint

if TYPE_CHECKING:
    import numpy as np
    import torch

MANY_BYTES = 16 * 2**20
"""Size from which several threads read a file faster than one."""

THREADS = min(4, os.cpu_count() or 1)


def to_numpy(array: ArrayData, file: BinaryIO | None = None) -> np.ndarray:
    """A numpy array; the bytes of a `Slice` are read from `file`. Raises CorruptCheckpoint."""
    import numpy as np

    if isinstance(array.data, Slice):
        assert file is not None
        flat = np.empty(len(array.data) // ITEM_SIZES[array.dtype], array.dtype)
        file.seek(array.data.offset)
        if file.readinto(memoryview(flat).cast("B")) != len(array.data):  # type: ignore[arg-type, attr-defined]
            raise CorruptCheckpoint("is truncated: an array's data end early")
    else:
        flat = np.frombuffer(array.data, dtype=array.dtype).copy()
    return flat.reshape(array.shape, order="F" if array.fortran_order else "C")


def load_tensors(
    contents: Contents, refs: Mapping[str, TensorRef | ArrayData], file: BinaryIO
) -> dict[str, torch.Tensor]:
    """Read the storages that `refs` use, in the order of the file, and lay the tensors on them.

    Tensors that share a storage in the file share it here. Raises CorruptCheckpoint.
    """
    needed = {ref.storage.key: ref.storage for ref in refs.values() if isinstance(ref, TensorRef)}
    ordered = sorted(needed.values(), key=lambda storage: contents.spans[storage.key].offset)
    buffers = read_storages(contents, ordered, file)
    return {name: lay(ref, buffers, file) for name, ref in refs.items()}


def read_storages(contents: Contents, storages: Sequence[StorageRef], file: BinaryIO) -> dict[str, torch.Tensor]:
    """Storage key -> its bytes. Copying them from the system's cache is most of the work, so threads share it."""

    def share(number: int) -> dict[str, torch.Tensor]:
        with open(contents.path, "rb") as own:
            return read_in_turn(contents, storages[number::THREADS], own)

    if sum(storage.nbytes for storage in storages) < MANY_BYTES:
        return read_in_turn(contents, storages, file)
    with ThreadPoolExecutor(THREADS) as pool:
        return {key: buffer for part in pool.map(share, range(THREADS)) for key, buffer in part.items()}


def read_in_turn(contents: Contents, storages: Sequence[StorageRef], file: BinaryIO) -> dict[str, torch.Tensor]:
    """Storage key -> its bytes."""
    return {storage.key: read_storage(file, storage, contents.spans[storage.key]) for storage in storages}


def read_storage(file: BinaryIO, storage: StorageRef, span: Span) -> torch.Tensor:
    """The bytes of one storage as a flat uint8 tensor, compared with the container's checksum if it has one."""
    import torch

    buffer = torch.empty(span.nbytes, dtype=torch.uint8)
    if span.nbytes == 0:
        return buffer
    view = memoryview(buffer.numpy())  # type: ignore[arg-type]
    file.seek(span.offset)
    if file.readinto(view) != span.nbytes:  # type: ignore[attr-defined]
        raise CorruptCheckpoint(f"is truncated: the data of storage {storage.key[:40]} end early")
    if span.crc is not None and zlib.crc32(view) != span.crc:
        raise CorruptCheckpoint(f"has damaged tensor data: the CRC-32 of storage {storage.key[:40]} is another")
    return buffer


def lay(ref: TensorRef | ArrayData, buffers: Mapping[str, torch.Tensor], file: BinaryIO) -> torch.Tensor:
    """One tensor on its storage, or read from `file`; `TensorRef`s were proven to stay inside when they were made."""
    import torch

    if isinstance(ref, ArrayData):
        return torch.from_numpy(to_numpy(ref, file))
    storage = buffers[ref.storage.key].untyped_storage()
    tensor = torch.empty(0, dtype=getattr(torch, ref.dtype))
    return tensor.set_(storage, ref.offset, ref.shape, ref.strides)  # type: ignore[call-overload]


def map_tensors(contents: Contents, refs: Mapping[str, TensorRef | ArrayData]) -> dict[str, torch.Tensor]:
    """Lay tensors on a private, copy-on-write mapping of the file: nothing is read until it is used.

    Only for files of our own cache, which are replaced but never changed.
    """
    import torch

    storage = torch.UntypedStorage.from_file(str(contents.path), False, contents.path.stat().st_size)
    result = {}
    for name, ref in refs.items():
        assert isinstance(ref, TensorRef)
        tensor = torch.empty(0, dtype=getattr(torch, ref.dtype))
        start = contents.spans[ref.storage.key].offset // ITEM_SIZES[ref.dtype]
        result[name] = tensor.set_(storage, start, ref.shape, ref.strides)  # type: ignore[call-overload, arg-type]
    return result
