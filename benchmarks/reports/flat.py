"""Records and manifests as CSV and JSON, for other programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.reports.table import Link, Table
from benchmarks.results.record import Record

if TYPE_CHECKING:
    import pandas as pd

FIELDS = ("id", "time", "model", "kind", "protocol", "status", "reason", "checkpoint", "manifest")


def records_csv(records: Sequence[Record]) -> str:
    """One line per record; parameters, metrics and environment as columns such as `metrics.fps`."""
    return to_csv(frame([flat(record) for record in records]))


def flat(record: Record) -> dict[str, Any]:
    """A record without nesting and without raw samples."""
    data = record.to_dict()
    row = {name: data[name] for name in FIELDS}
    for part in ("metrics", "parameters", "environment"):
        row |= flatten(data[part], part)
    return row


def flatten(data: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Nested mappings as `prefix.key`; lists as JSON."""
    row: dict[str, Any] = {}
    for key, value in data.items():
        name = f"{prefix}.{key}"
        if isinstance(value, Mapping):
            row |= flatten(value, name)
        else:
            row[name] = json.dumps(value) if isinstance(value, list) else value
    return row


def tables_csv(tables: Sequence[Table]) -> str:
    """All tables as one, each row with its table's title; links as addresses."""
    rows = [{"table": t.title, **{c: address(r.get(c)) for c in t.columns}} for t in tables for r in t.rows]
    return to_csv(frame(rows))


def frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows as a table with the columns of all of them; numbers stay what they are, whole ones whole."""
    import pandas as pd  # not at the top: other reports start without it

    return pd.DataFrame(rows, dtype=object)


def to_csv(table: pd.DataFrame) -> str:
    """A table as CSV; what a row does not have is empty."""
    return str(table.to_csv(index=False, lineterminator="\n"))


def tables_json(tables: Sequence[Table]) -> str:
    """Tables with their notes and rows."""
    data = [
        {"title": t.title, "note": t.note, "rows": [{c: address(r.get(c)) for c in t.columns} for r in t.rows]}
        for t in tables
    ]
    return json.dumps(data, indent=1) + "\n"


def address(cell: Any) -> Any:
    """A link's address; anything else as it is."""
    return cell.url if isinstance(cell, Link) else cell
