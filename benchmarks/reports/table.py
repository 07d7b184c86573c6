"""A table as data: what every format is written from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class Link(NamedTuple):
    """A cell with an address."""

    text: str
    url: str


Cell = str | int | float | Link | None


@dataclass(frozen=True)
class Table:
    """rows: column -> cell; None or a missing cell is "not known", never 0.

    note: what a reader must know to trust the numbers. digits: decimals of a column's numbers, one if not given.
    always: columns to show even if nothing is known in them; other empty columns may be left out.
    """

    title: str
    columns: tuple[str, ...]
    rows: Sequence[Mapping[str, Cell]]
    note: str = ""
    digits: Mapping[str, int] = field(default_factory=dict)
    always: tuple[str, ...] = ()

    def shown(self) -> list[str]:
        """The columns that have something to show."""
        return [c for c in self.columns if c in self.always or any(self.text(row, c) for row in self.rows)]

    def text(self, row: Mapping[str, Cell], column: str) -> str:
        """A cell as text; empty where nothing is known."""
        value = row.get(column)
        if isinstance(value, float):
            return f"{value:.{self.digits.get(column, 1)}f}"
        if isinstance(value, Link):
            return value.text
        return "" if value is None else str(value)
