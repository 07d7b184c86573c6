"""Settings that are one value for both axes, or one for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T", int, float)


def pair(value: T | Sequence[T]) -> tuple[T, T]:
    """A value for each of two axes, such as a stride as (x, y)."""
    return (value[0], value[1]) if isinstance(value, Sequence) else (value, value)
