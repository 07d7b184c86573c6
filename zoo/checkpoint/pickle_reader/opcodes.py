"""The instructions of pickle protocols 0 to 5, each as a step of the `Machine`.

Names and calls go to `allowed`, which imports and runs nothing.
"""

from __future__ import annotations

import struct
from codecs import escape_decode
from collections.abc import Callable

from zoo.checkpoint.pickle_reader import limits
from zoo.checkpoint.pickle_reader.allow_list import call, check_key, find_global
from zoo.checkpoint.pickle_reader.machine import MARK, Machine, finish
from zoo.checkpoint.pickle_reader.rebuild import ArrayBuilder, DtypeData
from zoo.checkpoint.pickle_reader.values import Global, Inert
from zoo.errors import CorruptCheckpoint


def _discard(_value: object) -> None:
    pass


# Constants


def _constant(value: object) -> Callable[[Machine], None]:
    return lambda machine: machine.stack.append(value)


def _fixed(layout: str, size: int) -> Callable[[Machine], None]:
    unpack = struct.Struct(layout).unpack  # a struct.error where the file ends
    return lambda machine: machine.stack.append(unpack(machine.file.read(size))[0])


def _sized(layout: str, size: int, convert: Callable[[bytes], object]) -> Callable[[Machine], None]:
    unpack = struct.Struct(layout).unpack
    return lambda machine: machine.stack.append(convert(machine.take(unpack(machine.file.read(size))[0])))


def _bytes(layout: str, size: int) -> Callable[[Machine], None]:
    unpack = struct.Struct(layout).unpack
    return lambda machine: machine.stack.append(machine.take_bytes(unpack(machine.file.read(size))[0]))


def _text(convert: Callable[[bytes], object]) -> Callable[[Machine], None]:
    return lambda machine: machine.stack.append(convert(machine.line()))


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


def _long_string(machine: Machine) -> None:
    result = machine.take_bytes(struct.unpack("<i", machine.file.read(4))[0])
    machine.stack.append(_latin1(result) if isinstance(result, bytes) else result)


def _proto(machine: Machine) -> None:
    if (version := machine.take(1)[0]) > 5:
        raise CorruptCheckpoint(f"is pickled with protocol {version}; known are 0 to 5")


def _frame(machine: Machine) -> None:
    if machine.number("<Q", 8) > machine.end - machine.file.tell():
        raise CorruptCheckpoint("is truncated: a pickle frame reaches beyond the end")


# Containers


def _append(machine: Machine) -> None:
    _extend(machine, [machine.pop()])


def _appends(machine: Machine) -> None:
    _extend(machine, machine.pop_to_mark())


def _extend(machine: Machine, values: list[object]) -> None:
    target = machine.top()
    if isinstance(target, Inert):
        target = target.elements
    if not isinstance(target, list):
        raise CorruptCheckpoint(f"appends to a {type(target).__name__}")
    target.extend(values)


def _setitem(machine: Machine) -> None:
    value, key = machine.pop(), machine.pop()
    _update(machine, [key, value])


def _setitems(machine: Machine) -> None:
    _update(machine, machine.pop_to_mark())


def _update(machine: Machine, flat: list[object]) -> None:
    target = machine.top()
    if isinstance(target, Inert):
        target = target.items
    if not isinstance(target, dict) or len(flat) % 2:
        raise CorruptCheckpoint(f"sets items of a {type(target).__name__}")
    for index in range(0, len(flat), 2):
        target[check_key(flat[index])] = flat[index + 1]


def _additems(machine: Machine) -> None:
    values = machine.pop_to_mark()
    if not isinstance(target := machine.top(), set):
        raise CorruptCheckpoint(f"adds to a {type(target).__name__}")
    target.update(check_key(value) for value in values)


def _frozenset(machine: Machine) -> None:
    machine.push(frozenset(check_key(value) for value in machine.pop_to_mark()))


def _dict(machine: Machine) -> None:
    flat = machine.pop_to_mark()
    machine.push({})
    _update(machine, flat)


def _tuple(count: int) -> Callable[[Machine], None]:
    def step(machine: Machine) -> None:
        values = machine.stack[-count:]
        if len(values) < count or MARK in values:
            raise CorruptCheckpoint("holds a pickle with an empty stack")
        machine.stack[-count:] = [tuple(map(finish, values))]

    return step


# The memo


_WORD = struct.Struct("<I").unpack


def _put(index: Callable[[Machine], int]) -> Callable[[Machine], None]:
    def step(machine: Machine) -> None:
        machine.memo[index(machine)] = machine.stack[-1]

    return step


def _put_byte(machine: Machine) -> None:
    # With the next two, nearly half of the instructions of a checkpoint.
    machine.memo[machine.file.read(1)[0]] = machine.stack[-1]


def _put_word(machine: Machine) -> None:
    machine.memo[_WORD(machine.file.read(4))[0]] = machine.stack[-1]


def _get_byte(machine: Machine) -> None:
    machine.stack.append(machine.memo[machine.file.read(1)[0]])


def _get(index: Callable[[Machine], int]) -> Callable[[Machine], None]:
    return lambda machine: machine.stack.append(machine.memo[index(machine)])


def _word(machine: Machine) -> int:
    return _WORD(machine.file.read(4))[0]


def _digits(machine: Machine) -> int:
    return int(machine.line())


# Names and calls


def _global(machine: Machine) -> None:
    module, name = _utf8(machine.line()), _utf8(machine.line())
    machine.push(find_global(module, name))


def _stack_global(machine: Machine) -> None:
    name, module = machine.pop(), machine.pop()
    if not isinstance(name, str) or not isinstance(module, str):
        raise CorruptCheckpoint("names a class by something else than text")
    machine.push(find_global(module, name))


def _call(machine: Machine, function: object, arguments: object) -> object:
    if not isinstance(arguments, tuple):
        raise CorruptCheckpoint("calls a name without a list of arguments")
    machine.charge(arguments)
    if isinstance(function, (Global, Inert)):
        return call(function, arguments)
    raise CorruptCheckpoint(f"calls a {type(function).__name__}")


def _reduce(machine: Machine) -> None:
    arguments, function = machine.pop(), machine.pop()
    machine.push(_call(machine, function, arguments))


def _newobj_ex(machine: Machine) -> None:
    keywords, arguments, function = machine.pop(), machine.pop(), machine.pop()
    if not isinstance(arguments, tuple) or not isinstance(keywords, dict):
        raise CorruptCheckpoint("calls a name without a list of arguments")
    machine.push(_call(machine, function, (*arguments, keywords) if keywords else arguments))


def _inst(machine: Machine) -> None:
    arguments = tuple(machine.pop_to_mark())
    _global(machine)
    machine.push(_call(machine, machine.pop(), arguments))


def _obj(machine: Machine) -> None:
    function, *arguments = machine.pop_to_mark()
    machine.push(_call(machine, function, tuple(arguments)))


def _build(machine: Machine) -> None:
    state, target = machine.pop(), machine.top()
    if isinstance(state, tuple):
        machine.charge(state)
    if isinstance(target, Inert):
        target.state = state
    elif isinstance(target, (ArrayBuilder, DtypeData)):
        target.set_state(state)
    elif isinstance(target, dict) and hasattr(target, "__dict__") and isinstance(state, dict):
        # An OrderedDict with attributes: a state dict keeps the version of each module in `_metadata`.
        target._metadata = state.get("_metadata")  # type: ignore[attr-defined]
    else:
        raise CorruptCheckpoint(f"sets the state of a {type(target).__name__}")


def _persistent(machine: Machine, identity: object) -> None:
    if machine.persistent_load is None:
        raise CorruptCheckpoint("refers to a storage outside its pickle")
    machine.push(machine.persistent_load(identity))


STEPS: dict[bytes, Callable[[Machine], None]] = {
    b"\x80": _proto,
    b"\x95": _frame,
    b"(": _constant(MARK),
    b"0": lambda machine: _discard(machine.stack.pop()),
    b"1": lambda machine: _discard(machine.pop_to_mark()),
    b"2": lambda machine: machine.push(machine.top()),
    b"N": _constant(None),
    b"\x88": _constant(True),
    b"\x89": _constant(False),
    b"I": _text(_decimal),
    b"J": _fixed("<i", 4),
    b"K": lambda machine: machine.stack.append(machine.file.read(1)[0]),
    b"M": _fixed("<H", 2),
    b"L": _text(_decimal),
    b"\x8a": _sized("<B", 1, _integer),
    b"\x8b": _sized("<i", 4, _integer),
    b"F": _text(float),
    b"G": _fixed(">d", 8),
    b"S": _text(_quoted),
    b"T": _long_string,
    b"U": _sized("<B", 1, _latin1),
    b"B": _bytes("<I", 4),
    b"C": _sized("<B", 1, bytes),
    b"\x8e": _bytes("<Q", 8),
    b"\x96": _bytes("<Q", 8),
    b"V": _text(lambda line: line.decode("raw-unicode-escape")),
    b"X": _sized("<I", 4, _utf8),
    b"\x8c": _sized("<B", 1, _utf8),
    b"\x8d": _sized("<Q", 8, _utf8),
    b"]": lambda machine: machine.push([]),
    b"l": lambda machine: machine.push(machine.pop_to_mark()),
    b"a": _append,
    b"e": _appends,
    b")": _constant(()),
    b"t": lambda machine: machine.push(tuple(machine.pop_to_mark())),
    b"\x85": _tuple(1),
    b"\x86": _tuple(2),
    b"\x87": _tuple(3),
    b"}": lambda machine: machine.push({}),
    b"d": _dict,
    b"s": _setitem,
    b"u": _setitems,
    b"\x8f": lambda machine: machine.push(set()),
    b"\x90": _additems,
    b"\x91": _frozenset,
    b"g": _get(_digits),
    b"h": _get_byte,
    b"j": _get(_word),
    b"p": _put(_digits),
    b"q": _put_byte,
    b"r": _put_word,
    b"\x94": lambda machine: _put(lambda at: len(at.memo))(machine),
    b"c": _global,
    b"\x93": _stack_global,
    b"R": _reduce,
    b"b": _build,
    b"i": _inst,
    b"o": _obj,
    b"\x81": _reduce,  # NEWOBJ: for our purpose the same as a call
    b"\x92": _newobj_ex,
    b"P": lambda machine: _persistent(machine, _utf8(machine.line())),
    b"Q": lambda machine: _persistent(machine, machine.pop()),
}
"""Instruction byte -> what it does. Missing on purpose: the extension registry and out-of-band buffers."""
