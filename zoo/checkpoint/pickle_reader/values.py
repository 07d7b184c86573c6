"""What a restricted read yields in place of live objects: descriptions of tensors, and inert stand-ins.

None of these can run anything: they hold names, numbers and byte strings. Importing this module needs neither torch
nor numpy, so a file can be inspected without them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod

ITEM_SIZES = {
    "float64": 8,
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint8": 1,
    "bool": 1,
    "uint16": 2,
    "uint32": 4,
    "uint64": 8,
    "float8_e4m3fn": 1,
    "float8_e5m2": 1,
    "complex64": 8,
    "complex128": 16,
}
"""Bytes per element of every dtype that a checkpoint may hold."""


@dataclass(frozen=True, slots=True)
class StorageRef:
    """A run of elements somewhere in the file, not yet read.

    numel: elements of the whole storage `key`. start, view_numel: the part of it that old torch saved as a storage of
    its own, in elements; None means all.
    """

    key: str
    dtype: str
    numel: int
    start: int = 0
    view_numel: int | None = None

    @property
    def nbytes(self) -> int:
        """Size of the whole storage in bytes."""
        return self.numel * ITEM_SIZES[self.dtype]


@dataclass(frozen=True, slots=True)
class TensorRef:
    """A strided window on a storage: `offset` and `strides` in elements of `dtype`, as torch counts them."""

    storage: StorageRef
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str

    @property
    def numel(self) -> int:
        """Number of elements."""
        return prod(self.shape)


@dataclass(frozen=True, slots=True)
class Slice:
    """Bytes inside a pickle that were passed over: `length` bytes at `offset` of the file."""

    offset: int
    length: int

    def __len__(self) -> int:
        return self.length


@dataclass(frozen=True, slots=True)
class ArrayData:
    """A numpy array as its pickle describes it; `data` holds the elements in C or Fortran order, or says where."""

    dtype: str
    shape: tuple[int, ...]
    fortran_order: bool
    data: bytes | Slice = field(repr=False)


@dataclass(eq=False, slots=True)
class Inert:
    """Stand-in for an object whose class is not on the allow-list: what the file said, and nothing that runs.

    name: `module.Class` as written in the file. arguments, state, items and elements: what the file wanted to pass to
    its constructor, its `__setstate__`, its `__setitem__` and its `append`.
    """

    name: str
    arguments: tuple[object, ...] = ()
    state: object = None
    items: dict[object, object] = field(default_factory=dict)
    elements: list[object] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"<inert {self.name}>"


@dataclass(eq=False, slots=True)
class Global:
    """A name that the file mentioned, as `module.name`. build: our function that answers for it, if one does."""

    name: str
    build: Callable[..., object] | None = None
