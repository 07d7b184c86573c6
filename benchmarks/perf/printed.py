"""How benchmarks print named numbers, and rows with the machine that they are of."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.reports.text_table import format_table
from benchmarks.system import environment


def numbers(result: Mapping[str, object], as_json: bool, width: int) -> str:
    """A result as JSON, or one line per number, its name padded to `width` characters."""
    if as_json:
        return json.dumps(result, indent=1)
    return "\n".join(f"{key:{width}} {value}" for key, value in result.items())


def rows_here(rows: Sequence[Mapping[str, Any]], as_json: bool, style: str = "simple") -> str:
    """Rows as a table, or as JSON: {"machine": what they were measured on, "rows": rows}."""
    if as_json:
        return json.dumps({"machine": machine(), "rows": rows}, indent=1)
    return format_table(rows, style=style)


def machine() -> dict[str, Any]:
    """Processor, instruction set, cores, memory in MiB, system, and the versions that are measured."""
    facts = environment.describe("cpu")
    host = {name: facts["host"][name] for name in ("cpu", "vector_units", "usable_cores", "memory_mib", "system")}
    return {**host, "python": facts["python"], "torch": facts["libraries"]["torch"], "commit": facts["commit"]}
