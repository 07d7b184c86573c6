"""The extent of a description, before anything walks through it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoo.errors import BuildError

MAX_PARTS = 50_000
"""Values in a description, shared ones counted each time; the longest published one has about 2,000."""


def check_extent(description: Any) -> None:
    """Refuse a description of too many parts. Raises BuildError."""
    waiting, count = [description], 0
    while waiting:
        inner = contents(waiting.pop())
        count += len(inner)
        if count > MAX_PARTS:
            raise BuildError(f"the description of the network has more than {MAX_PARTS:,} parts")
        waiting.extend(part for part in inner if isinstance(part, (Mapping, list, tuple)))


def contents(value: Any) -> list[Any] | tuple[Any, ...]:
    """What is directly inside a container."""
    if isinstance(value, Mapping):
        return list(value.values())
    return value if isinstance(value, (list, tuple)) else ()
