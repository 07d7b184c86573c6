"""How much a checkpoint may ask for. Generous for any real file, small against memory and stack."""

from __future__ import annotations

from zoo.checkpoint.values import Inert
from zoo.errors import CorruptCheckpoint

MAX_OPCODES = 4_000_000
"""Instructions in one pickle. A detector with its optimizer state needs about 200 thousand."""

MAX_PICKLE_BYTES = 512 * 2**20
"""Size of the pickle inside a zip archive; tensors are outside it."""

MAX_ZIP_ENTRIES = 200_000
MAX_DEPTH = 100
"""Containers within containers."""

MAX_NODES = 20_000_000
"""Values in the whole structure, shared parts counted each time they are reached."""

MAX_LINE = 256 * 2**20
"""Bytes of one line of protocol 0."""

MAX_INTEGER_BYTES = 128
MAX_HEADER_BYTES = 100 * 2**20
"""JSON header of a safetensors file; the format's own limit."""


def check_structure(root: object) -> None:
    """Refuse structures that contain themselves, nest too deep, or explode when walked ("billion laughs").

    Raises CorruptCheckpoint.
    """
    _measure(root, 0, {})


def _measure(value: object, depth: int, seen: dict[int, tuple[int, int] | None]) -> tuple[int, int]:
    """Number of values below and including `value`, and its height."""
    if (children := _children(value)) is None:
        return 1, 0
    if id(value) in seen and seen[id(value)] is None:
        raise CorruptCheckpoint("contains an object that contains itself")
    measured = seen.get(id(value))
    if measured is None:
        seen[id(value)] = None
        measured = _measure_children(children, depth, seen)
        seen[id(value)] = measured
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


def _children(value: object) -> list[object] | None:
    """What a container holds; None for everything else."""
    if isinstance(value, dict):
        return (
            [*value.keys(), *value.values(), *vars(value).values()]
            if hasattr(value, "__dict__")
            else [
                *value.keys(),
                *value.values(),
            ]
        )
    if isinstance(value, (list, tuple, set, frozenset)):
        return list(value)
    if isinstance(value, Inert):
        return [value.arguments, value.state, value.items, value.elements]
    return None
