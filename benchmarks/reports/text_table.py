"""Plain-text and Markdown tables from rows of named cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def format_table(rows: Sequence[Mapping[str, object]], style: str = "simple") -> str:
    """Rows as text, columns in order of first appearance, missing cells empty. style: one of tabulate's."""
    from tabulate import tabulate

    columns = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[row.get(name, "") for name in columns] for row in rows]
    return tabulate(cells, headers=columns, tablefmt=style, disable_numparse=True)
