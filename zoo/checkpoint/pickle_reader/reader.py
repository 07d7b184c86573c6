"""A reader of the pickle language that cannot run anything.

It interprets the instructions of protocols 0 to 5 (documented in CPython's `pickletools`) over plain containers. Where
Python's own unpickler imports a name and calls it, this one asks `allowed.find_global`, which answers with a function
of this package or an inert record. Memory is bounded by limits on instructions, lengths and nesting.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

from zoo.checkpoint.pickle_reader import limits
from zoo.checkpoint.pickle_reader.machine import Machine, PersistentLoad
from zoo.checkpoint.pickle_reader.opcodes import STEPS
from zoo.errors import CorruptCheckpoint, UnsafeCheckpoint, ZooError


def read_pickle(
    file: BinaryIO, end: int, persistent_load: PersistentLoad | None = None, *, skip: bool = False
) -> object:
    """Read one pickle from where `file` stands, and leave `file` just behind it.

    end: position in `file` that no read may pass. persistent_load: what external ids (torch's storages) stand for.
    skip: leave long byte strings in the file, as `Slice`s.
    Raises UnsafeCheckpoint for a forbidden instruction or name, CorruptCheckpoint for everything that is broken.
    """
    try:
        value = run(Machine(file, end, persistent_load, skip))
    except ZooError:
        raise
    except (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError) as error:
        raise CorruptCheckpoint(f"holds a broken pickle: {type(error).__name__} near byte {file.tell()}") from error
    except struct.error:
        raise CorruptCheckpoint(f"ends in the middle of a pickle, at byte {file.tell()}") from None
    limits.check_structure(value)
    return value


def run(machine: Machine) -> object:
    """Follow instructions up to the one that ends the pickle; returns what it leaves."""
    read, steps = machine.file.read, STEPS
    for _ in range(limits.MAX_OPCODES):
        code = read(1)
        if code == b".":
            return machine.pop()
        step = steps.get(code)
        if step is None:
            raise refusal(code, machine.file.tell() - 1)
        step(machine)
    raise CorruptCheckpoint(f"holds a pickle of more than {limits.MAX_OPCODES:,} instructions")


def refusal(code: bytes, position: int) -> ZooError:
    """The error for a byte that is not an instruction, or one that is left out on purpose."""
    if not code:
        return CorruptCheckpoint("ends in the middle of a pickle")
    if code in b"\x82\x83\x84":
        return UnsafeCheckpoint("uses the extension registry of pickle")
    return CorruptCheckpoint(f"holds {code!r} where an instruction is expected, at byte {position}")
