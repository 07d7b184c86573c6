"""Tables in GitHub's Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.reports.table import Cell, Link, Table
from zoo.system.atomic_write import atomic_write

# GitHub shows no more than 1 MiB of a job's summary.
SUMMARY_BYTES = 1024 * 1024
NOTE_BYTES = 500


def render(tables: Sequence[Table], title: str = "Report", intro: str = "", limit: int = SUMMARY_BYTES) -> str:
    """One document; tables that no longer fit into `limit` bytes are left out, and the end says so."""
    parts, dropped = [f"# {title}\n", *([f"{intro}\n"] if intro else [])], []
    room = limit - len("\n".join(parts).encode()) - NOTE_BYTES
    for table in tables:
        text = section(table)
        room -= len(text.encode()) + 1
        if room < 0:
            room += len(text.encode()) + 1
            dropped.append(f"{table.title} ({len(table.rows)} rows)")
        else:
            parts.append(text)
    return "\n".join(parts + ([left_out(dropped)] if dropped else []))


def left_out(dropped: Sequence[str]) -> str:
    """What did not fit, in at most NOTE_BYTES."""
    beginning, named, size = "Left out, the document would be too large for GitHub: ", [], 0
    for name in dropped:
        size += len(name.encode()) + 2
        if size > NOTE_BYTES - len(beginning) - 30:
            break
        named.append(name)
    more = len(dropped) - len(named)
    return beginning + ", ".join(named) + (f" and {more} more tables" if more else "") + ".\n"


def section(table: Table) -> str:
    """A heading, the note and the table."""
    shown = table.shown()
    lines = [f"## {table.title}", ""]
    if table.note:
        lines += [table.note, ""]
    lines += [line(shown), line(["---:" if is_number(table, c) else "---" for c in shown])]
    lines += [line([cell(table, row, c) for c in shown]) for row in table.rows]
    return "\n".join(lines) + "\n"


def line(cells: Sequence[str]) -> str:
    """One line of a table."""
    return f"| {' | '.join(cells)} |"


def cell(table: Table, row: Mapping[str, Cell], column: str) -> str:
    """A cell; a link where it has an address."""
    text = table.text(row, column).replace("|", "\\|").replace("\n", " ")
    value = row.get(column)
    return f"[{text}]({value.url})" if isinstance(value, Link) else text


def is_number(table: Table, column: str) -> bool:
    """Whether all known cells of a column are numbers."""
    known = [row[column] for row in table.rows if row.get(column) is not None]
    return bool(known) and all(isinstance(value, (int, float)) for value in known)


def write(text: str, path: Path) -> None:
    """Write a document; the file appears only when it is whole."""
    atomic_write(path, text)
