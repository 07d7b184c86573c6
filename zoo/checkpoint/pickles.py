"""A reader of the pickle language that cannot run anything.

It interprets the instructions of protocols 0 to 5 (documented in CPython's `pickletools`) over plain containers. Where
Python's own unpickler imports a name and calls it, this one asks `allowed.find_global`, which answers with a function
of this package or an inert record. Memory is bounded by limits on instructions, lengths and nesting.
"""

from __future__ import annotations

import struct
from codecs import escape_decode
from collections.abc import Callable
from typing import BinaryIO

from zoo.checkpoint import limits
from zoo.checkpoint.allowed import ArrayBuilder, DtypeData, Global, check_key, find_global
from zoo.checkpoint.values import Inert
from zoo.errors import CorruptCheckpoint, UnsafeCheckpoint, ZooError

PersistentLoad = Callable[[object], object]


def read_pickle(file: BinaryIO, end: int, persistent_load: PersistentLoad | None = None) -> object:
    """Read one pickle from where `file` stands, and leave `file` just behind it.

    end: position in `file` that no read may pass. persistent_load: what external ids (torch's storages) stand for.
    Raises UnsafeCheckpoint for a forbidden instruction or name, CorruptCheckpoint for everything that is broken.
    """
    reader = _Reader(file, end, persistent_load)
    try:
        value = reader.run()
    except ZooError:
        raise
    except (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError) as error:
        raise CorruptCheckpoint(f"holds a broken pickle: {type(error).__name__} near byte {file.tell()}") from error
    except struct.error:
        raise CorruptCheckpoint(f"ends in the middle of a pickle, at byte {file.tell()}") from None
    limits.check_structure(value)
    return value


class _Mark:
    """Where an argument list begins on the stack."""


MARK = _Mark()


class _Reader:
    """The stack machine. `stack` and `memo` hold plain values, refs, `Global`s and `Inert`s, never anything else."""

    def __init__(self, file: BinaryIO, end: int, persistent_load: PersistentLoad | None) -> None:
        self.file = file
        self.end = end
        self.persistent_load = persistent_load
        self.stack: list[object] = []
        self.memo: dict[int, object] = {}
        self.budget = 4 * end + 16 * limits.MAX_OPCODES

    def run(self) -> object:
        read, steps = self.file.read, STEPS
        for _ in range(limits.MAX_OPCODES):
            code = read(1)
            if code == b".":
                return self.pop()
            step = steps.get(code)
            if step is None:
                self.refuse(code)
            step(self)  # type: ignore[misc]
        raise CorruptCheckpoint(f"holds a pickle of more than {limits.MAX_OPCODES:,} instructions")

    def refuse(self, code: bytes) -> None:
        if not code:
            raise CorruptCheckpoint("ends in the middle of a pickle")
        if code in b"\x82\x83\x84":
            raise UnsafeCheckpoint("uses the extension registry of pickle")
        raise CorruptCheckpoint(f"holds {code!r} where an instruction is expected, at byte {self.file.tell() - 1}")

    # Bytes of the file

    def take(self, count: int) -> bytes:
        if count < 0 or (count > 4096 and count > self.end - self.file.tell()):
            raise CorruptCheckpoint(f"is truncated: a value of {count} bytes reaches beyond the end")
        data = self.file.read(count)
        if len(data) != count:
            raise CorruptCheckpoint("ends in the middle of a pickle")
        return data

    def number(self, layout: str, size: int) -> int:
        return struct.unpack(layout, self.take(size))[0]

    def line(self) -> bytes:
        data = self.file.readline(65536)
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
        values = [finish(value) for value in stack[at + 1 :]]
        del stack[at:]
        return values

    def top(self) -> object:
        return self.stack[-1]

    def charge(self, values: tuple[object, ...]) -> None:
        """Bound what repeated conversions of one memoised value can allocate."""
        for value in values:
            if isinstance(value, COPIED):
                self.budget -= len(value) * (1 if isinstance(value, (str, bytes)) else 16)
        if self.budget < 0:
            raise CorruptCheckpoint("converts the same values over and over")


COPIED = (str, bytes, bytearray, list, tuple, dict)


def finish(value: object) -> object:
    """A numpy array that has been filled is handed on as its data."""
    if isinstance(value, ArrayBuilder) and value.array is not None:
        return value.array
    return value


def _discard(_value: object) -> None:
    pass


# Constants


def _constant(value: object) -> Callable[[_Reader], None]:
    return lambda reader: reader.stack.append(value)


def _fixed(layout: str, size: int) -> Callable[[_Reader], None]:
    return lambda reader: reader.stack.append(struct.unpack(layout, reader.take(size))[0])


def _sized(layout: str, size: int, convert: Callable[[bytes], object]) -> Callable[[_Reader], None]:
    return lambda reader: reader.stack.append(convert(reader.take(reader.number(layout, size))))


def _text(convert: Callable[[bytes], object]) -> Callable[[_Reader], None]:
    return lambda reader: reader.stack.append(convert(reader.line()))


def _utf8(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def _latin1(data: bytes) -> str:
    return data.decode("latin-1")


def _integer(data: bytes) -> int:
    if len(data) > limits.MAX_INTEGER_BYTES:
        raise CorruptCheckpoint(f"holds an integer of {len(data)} bytes")
    return int.from_bytes(data, "little", signed=True)


def _decimal(line: bytes) -> object:
    """Protocol 0 integers; 00 and 01 are its booleans, and a trailing L is Python 2's long."""
    if line in (b"00", b"01"):
        return line == b"01"
    if len(line) > limits.MAX_INTEGER_BYTES:
        raise CorruptCheckpoint(f"holds an integer of {len(line)} digits")
    return int(line.rstrip(b"L"))


def _quoted(line: bytes) -> str:
    if len(line) < 2 or line[:1] not in b"'\"" or line[:1] != line[-1:]:
        raise CorruptCheckpoint("holds a string without its quotes")
    return _latin1(escape_decode(line[1:-1])[0])  # type: ignore[arg-type]


def _proto(reader: _Reader) -> None:
    if (version := reader.take(1)[0]) > 5:
        raise CorruptCheckpoint(f"is pickled with protocol {version}; known are 0 to 5")


def _frame(reader: _Reader) -> None:
    if reader.number("<Q", 8) > reader.end - reader.file.tell():
        raise CorruptCheckpoint("is truncated: a pickle frame reaches beyond the end")


# Containers


def _append(reader: _Reader) -> None:
    _extend(reader, [reader.pop()])


def _appends(reader: _Reader) -> None:
    _extend(reader, reader.pop_to_mark())


def _extend(reader: _Reader, values: list[object]) -> None:
    target = reader.top()
    if isinstance(target, Inert):
        target = target.elements
    if not isinstance(target, list):
        raise CorruptCheckpoint(f"appends to a {type(target).__name__}")
    target.extend(values)


def _setitem(reader: _Reader) -> None:
    value, key = reader.pop(), reader.pop()
    _update(reader, [key, value])


def _setitems(reader: _Reader) -> None:
    _update(reader, reader.pop_to_mark())


def _update(reader: _Reader, flat: list[object]) -> None:
    target = reader.top()
    if isinstance(target, Inert):
        target = target.items
    if not isinstance(target, dict) or len(flat) % 2:
        raise CorruptCheckpoint(f"sets items of a {type(target).__name__}")
    for index in range(0, len(flat), 2):
        target[check_key(flat[index])] = flat[index + 1]


def _additems(reader: _Reader) -> None:
    values = reader.pop_to_mark()
    if not isinstance(target := reader.top(), set):
        raise CorruptCheckpoint(f"adds to a {type(target).__name__}")
    target.update(check_key(value) for value in values)


def _frozenset(reader: _Reader) -> None:
    reader.push(frozenset(check_key(value) for value in reader.pop_to_mark()))


def _dict(reader: _Reader) -> None:
    flat = reader.pop_to_mark()
    reader.push({})
    _update(reader, flat)


def _tuple(count: int) -> Callable[[_Reader], None]:
    def step(reader: _Reader) -> None:
        reader.push(tuple(reversed([reader.pop() for _ in range(count)])))

    return step


# The memo


def _put(index: Callable[[_Reader], int]) -> Callable[[_Reader], None]:
    def step(reader: _Reader) -> None:
        reader.memo[index(reader)] = reader.top()

    return step


def _get(index: Callable[[_Reader], int]) -> Callable[[_Reader], None]:
    return lambda reader: reader.stack.append(reader.memo[index(reader)])


def _byte(reader: _Reader) -> int:
    return reader.take(1)[0]


def _word(reader: _Reader) -> int:
    return reader.number("<I", 4)


def _digits(reader: _Reader) -> int:
    return int(reader.line())


# Names and calls


def _global(reader: _Reader) -> None:
    module, name = _utf8(reader.line()), _utf8(reader.line())
    reader.push(find_global(module, name))


def _stack_global(reader: _Reader) -> None:
    name, module = reader.pop(), reader.pop()
    if not isinstance(name, str) or not isinstance(module, str):
        raise CorruptCheckpoint("names a class by something else than text")
    reader.push(find_global(module, name))


def _call(reader: _Reader, function: object, arguments: object) -> object:
    if not isinstance(arguments, tuple):
        raise CorruptCheckpoint("calls a name without a list of arguments")
    reader.charge(arguments)
    if isinstance(function, Global):
        return function.call(arguments)
    if isinstance(function, Inert):
        return Inert(function.name, arguments)
    raise CorruptCheckpoint(f"calls a {type(function).__name__}")


def _reduce(reader: _Reader) -> None:
    arguments, function = reader.pop(), reader.pop()
    reader.push(_call(reader, function, arguments))


def _newobj_ex(reader: _Reader) -> None:
    keywords, arguments, function = reader.pop(), reader.pop(), reader.pop()
    if not isinstance(arguments, tuple) or not isinstance(keywords, dict):
        raise CorruptCheckpoint("calls a name without a list of arguments")
    reader.push(_call(reader, function, (*arguments, keywords) if keywords else arguments))


def _inst(reader: _Reader) -> None:
    arguments = tuple(reader.pop_to_mark())
    _global(reader)
    reader.push(_call(reader, reader.pop(), arguments))


def _obj(reader: _Reader) -> None:
    function, *arguments = reader.pop_to_mark()
    reader.push(_call(reader, function, tuple(arguments)))


def _build(reader: _Reader) -> None:
    state, target = reader.pop(), reader.top()
    if isinstance(state, tuple):
        reader.charge(state)
    if isinstance(target, Inert):
        target.state = state
    elif isinstance(target, (ArrayBuilder, DtypeData)):
        target.set_state(state)
    elif isinstance(target, dict) and hasattr(target, "__dict__") and isinstance(state, dict):
        # An OrderedDict with attributes: a state dict keeps the version of each module in `_metadata`.
        target._metadata = state.get("_metadata")  # type: ignore[attr-defined]
    else:
        raise CorruptCheckpoint(f"sets the state of a {type(target).__name__}")


def _persistent(reader: _Reader, identity: object) -> None:
    if reader.persistent_load is None:
        raise CorruptCheckpoint("refers to a storage outside its pickle")
    reader.push(reader.persistent_load(identity))


STEPS: dict[bytes, Callable[[_Reader], None]] = {
    b"\x80": _proto,
    b"\x95": _frame,
    b"(": _constant(MARK),
    b"0": lambda reader: _discard(reader.stack.pop()),
    b"1": lambda reader: _discard(reader.pop_to_mark()),
    b"2": lambda reader: reader.push(reader.top()),
    b"N": _constant(None),
    b"\x88": _constant(True),
    b"\x89": _constant(False),
    b"I": _text(_decimal),
    b"J": _fixed("<i", 4),
    b"K": _fixed("<B", 1),
    b"M": _fixed("<H", 2),
    b"L": _text(_decimal),
    b"\x8a": _sized("<B", 1, _integer),
    b"\x8b": _sized("<i", 4, _integer),
    b"F": _text(float),
    b"G": _fixed(">d", 8),
    b"S": _text(_quoted),
    b"T": _sized("<i", 4, _latin1),
    b"U": _sized("<B", 1, _latin1),
    b"B": _sized("<I", 4, bytes),
    b"C": _sized("<B", 1, bytes),
    b"\x8e": _sized("<Q", 8, bytes),
    b"\x96": _sized("<Q", 8, bytearray),
    b"V": _text(lambda line: line.decode("raw-unicode-escape")),
    b"X": _sized("<I", 4, _utf8),
    b"\x8c": _sized("<B", 1, _utf8),
    b"\x8d": _sized("<Q", 8, _utf8),
    b"]": lambda reader: reader.push([]),
    b"l": lambda reader: reader.push(reader.pop_to_mark()),
    b"a": _append,
    b"e": _appends,
    b")": _constant(()),
    b"t": lambda reader: reader.push(tuple(reader.pop_to_mark())),
    b"\x85": _tuple(1),
    b"\x86": _tuple(2),
    b"\x87": _tuple(3),
    b"}": lambda reader: reader.push({}),
    b"d": _dict,
    b"s": _setitem,
    b"u": _setitems,
    b"\x8f": lambda reader: reader.push(set()),
    b"\x90": _additems,
    b"\x91": _frozenset,
    b"g": _get(_digits),
    b"h": _get(_byte),
    b"j": _get(_word),
    b"p": _put(_digits),
    b"q": _put(_byte),
    b"r": _put(_word),
    b"\x94": lambda reader: _put(lambda at: len(at.memo))(reader),
    b"c": _global,
    b"\x93": _stack_global,
    b"R": _reduce,
    b"b": _build,
    b"i": _inst,
    b"o": _obj,
    b"\x81": _reduce,  # NEWOBJ: for our purpose the same as a call
    b"\x92": _newobj_ex,
    b"P": lambda reader: _persistent(reader, _utf8(reader.line())),
    b"Q": lambda reader: _persistent(reader, reader.pop()),
}
"""Instruction byte -> what it does. Missing on purpose: the extension registry and out-of-band buffers."""
