"""The operators' benchmark."""

from __future__ import annotations

import json

from benchmarks.perf import operators


def test_both_ways_of_an_operator_give_the_same(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["operators", "-k", "soft", "--rounds", "1", "--json"])
    operators.main()
    (row,) = json.loads(capsys.readouterr().out)
    assert row["operator"] == "soft-NMS"
    assert row["difference"] < 1e-6 and row["ratio"] > 0
