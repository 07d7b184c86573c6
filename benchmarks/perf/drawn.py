"""What drawn faults and healthy files are made of."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from benchmarks.perf.spoil import Spoil

Random = np.random.Generator


class Drawn(NamedTuple):
    """name: with its parameters. keys: those that name it; none for a healthy file."""

    name: str
    keys: tuple[str, ...]
    change: Spoil


def uniform(random: Random, low: float, high: float, digits: int = 2) -> float:
    """A number of few digits."""
    return round(float(random.uniform(low, high)), digits)


def one_of(random: Random, *values: Any) -> Any:
    """One of some values."""
    return values[random.integers(len(values))]
