"""The stack machine behind a pickle: bytes of the file, a stack, and a memo, all of them bounded."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, BinaryIO

from zoo.checkpoint.pickle_reader import limits
from zoo.checkpoint.pickle_reader.rebuild import ArrayBuilder
from zoo.checkpoint.pickle_reader.values import Slice
from zoo.errors import CorruptCheckpoint

PersistentLoad = Callable[[object], object]

COSTS: dict[type, int] = {str: 1, bytes: 1, bytearray: 1, list: 16, tuple: 16}
"""Bytes per element of what a call may copy."""


class Mark:
    """Where an argument list begins on the stack."""


MARK = Mark()


class Machine:
    """The stack machine. `stack` and `memo` hold plain values, refs, `Global`s and `Inert`s, never anything else."""

    def __init__(self, file: BinaryIO, end: int, persistent_load: PersistentLoad | None, skip: bool) -> None:
        self.file = file
        self.end = end
        self.persistent_load = persistent_load
        self.skip = skip
        self.stack: list[object] = []
        self.memo: dict[int, object] = {}
        self.budget = 4 * end + 16 * limits.MAX_OPCODES

    # Bytes of the file

    def take(self, count: int) -> bytes:
        if count < 0 or (count > 4096 and count > self.end - self.file.tell()):
            raise CorruptCheckpoint(f"is truncated: a value of {count} bytes reaches beyond the end")
        data = self.file.read(count)
        if len(data) != count:
            raise CorruptCheckpoint("ends in the middle of a pickle")
        return data

    def take_bytes(self, count: int) -> bytes | Slice:
        """`take`, or where the bytes are if they are many: the arrays of Detectron2's files are not read by looking."""
        position = self.file.tell() if self.skip and count > limits.MAX_HELD_BYTES else None
        if position is None or count > self.end - position:
            return self.take(count)
        self.file.seek(count, 1)
        return Slice(position, count)

    def number(self, layout: str, size: int) -> int:
        return struct.unpack(layout, self.take(size))[0]

    def line(self) -> bytes:
        data = self.file.readline(limits.MAX_LINE)
        if not data.endswith(b"\n"):
            raise CorruptCheckpoint("ends in the middle of a pickle")
        return data[:-1]

    # The stack

    def push(self, value: object) -> None:
        self.stack.append(value)

    def pop(self) -> object:
        value = self.stack.pop()
        if value is MARK:
            raise CorruptCheckpoint("holds a pickle with an empty stack")
        return finish(value)

    def pop_to_mark(self) -> list[object]:
        stack = self.stack
        at = len(stack) - 1
        while stack[at] is not MARK:  # an IndexError below the bottom means a broken pickle
            at -= 1
            if at < 0:
                raise CorruptCheckpoint("holds a pickle with an unmatched mark")
        values = [finish(value) if type(value) is ArrayBuilder else value for value in stack[at + 1 :]]
        del stack[at:]
        return values

    def top(self) -> object:
        return self.stack[-1]

    def charge(self, values: tuple[object, ...]) -> None:
        """Bound what repeated uses of one memoized value can allocate, and how long they take."""
        self.budget -= 16 * len(values)
        if self.budget >= 0:
            sized: Any = [value for value in values if type(value) in COSTS]
            self.budget -= sum([COSTS[type(value)] * len(value) for value in sized])
        if self.budget < 0:
            raise CorruptCheckpoint("converts the same values over and over")


def finish(value: object) -> object:
    """A numpy array that has been filled is handed on as its data."""
    if type(value) is ArrayBuilder and value.array is not None:
        return value.array
    return value
