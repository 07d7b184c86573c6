"""What benchmarks print names the machine that it was measured on."""

from __future__ import annotations

import json

import torch

from benchmarks.perf.printed import rows_here

ROWS = [{"model": "a", "share": 0.7}, {"model": "b", "share": 0.8}]


def test_rows_as_json_name_the_machine() -> None:
    printed = json.loads(rows_here(ROWS, as_json=True))
    assert printed["rows"] == ROWS
    assert printed["machine"]["usable_cores"] >= 1 and printed["machine"]["cpu"]
    assert printed["machine"]["torch"] == torch.__version__.split("+")[0]
    assert {"vector_units", "memory_mib", "system", "python", "commit"} <= printed["machine"].keys()


def test_rows_as_text_are_a_table() -> None:
    assert rows_here(ROWS, as_json=False).splitlines()[0].split() == ["model", "share"]
