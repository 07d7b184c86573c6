"""How much a checkpoint may ask for. Generous for any real file, small against memory and stack."""

from __future__ import annotations

from zoo.checkpoint.pickle_reader.values import Inert
from zoo.errors import CorruptCheckpoint, UnsafeCheckpoint

MAX_OPCODES = 4_000_000
"""Instructions in one pickle. A detector with its optimizer state needs about 200 thousand."""

MAX_PICKLE_BYTES = 512 * 2**20
"""Size of the pickle inside a zip archive; tensors are outside it."""

MAX_ZIP_ENTRIES = 200_000
MAX_DEPTH = 100
"""Containers within containers."""

MAX_NODES = MAX_OPCODES
"""Values in the whole structure, shared parts counted each time they are reached: as many as if nothing were shared."""

TEXT_PER_NODE = 64
"""Letters or bytes that count as one more value."""

MAX_HELD_BYTES = 65536
"""Size from which bytes inside a plain pickle stay in the file until they are needed."""

MAX_NAME = 1000
"""Letters of `module.Class`."""

MAX_REPEATS = 16
"""How often the tensors of a file may use the same bytes, on average; heads of query-based detectors share theirs."""

MAX_LINE = 256 * 2**20
"""Bytes of one line of protocol 0."""

MAX_INTEGER_BYTES = 128
MAX_HEADER_BYTES = 25 * 2**20
"""JSON header of a safetensors file, whose parsed form is some twenty times larger. The format itself allows 100 MB."""

MAX_DIRECTORY_BYTES = 16 * 2**20
"""Directory of a zip archive."""


def check_name(name: str) -> str:
    """Names are joined and copied, so a long one that is used again and again would fill the memory."""
    if len(name) > MAX_NAME:
        raise UnsafeCheckpoint(f"names a class by {len(name):,} letters, {name[:60]!r}...")
    return name


def check_structure(root: object) -> None:
    """Refuse structures that contain themselves, nest too deep, or explode when walked ("billion laughs").

    Raises CorruptCheckpoint.
    """
    _measure(root, 0, {})


def _measure(value: object, depth: int, seen: dict[int, tuple[int, int] | None]) -> tuple[int, int]:
    """Number of values below and including `value`, and its height."""
    if isinstance(value, (str, bytes, bytearray)):
        return 1 + len(value) // TEXT_PER_NODE, 0
    if not isinstance(value, (dict, list, tuple, set, frozenset, Inert)):
        return 1, 0
    measured = seen.get(id(value), (0, 0))
    if measured is None:
        raise CorruptCheckpoint("contains an object that contains itself")
    if not measured[0]:
        seen[id(value)] = None
        measured = seen[id(value)] = _measure_children(_children(value), depth, seen)
    if depth + measured[1] > MAX_DEPTH:
        raise CorruptCheckpoint(f"nests containers more than {MAX_DEPTH} deep")
    return measured


def _measure_children(children: list[object], depth: int, seen: dict[int, tuple[int, int] | None]) -> tuple[int, int]:
    if depth > MAX_DEPTH:
        raise CorruptCheckpoint(f"nests containers more than {MAX_DEPTH} deep")
    nodes, height = 1, 0
    for child in children:
        below, child_height = _measure(child, depth + 1, seen)
        nodes, height = nodes + below, max(height, child_height)
        if nodes > MAX_NODES:
            raise CorruptCheckpoint(f"describes more than {MAX_NODES:,} values")
    return nodes, height + 1


def _children(value: object) -> list[object]:
    """What a container holds."""
    if isinstance(value, dict):
        attributes = vars(value).values() if hasattr(value, "__dict__") else ()
        return [*value.keys(), *value.values(), *attributes]
    if isinstance(value, Inert):
        return [value.arguments, value.state, value.items, value.elements]
    return list(value)  # type: ignore[call-overload]
