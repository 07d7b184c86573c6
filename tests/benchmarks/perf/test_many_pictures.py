"""The benchmark of an evaluation's memory, on a few pictures."""

from __future__ import annotations

import json

from benchmarks.perf import many_pictures


def test_memory_and_speed_are_reported_for_each_number_of_workers(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["many_pictures", "--pictures", "20", "--workers", "0,2", "--json"])
    many_pictures.main()
    rows = json.loads(capsys.readouterr().out)
    assert [(row["workers"], row["pictures"]) for row in rows] == [(0, 20), (2, 20)]
    assert all(row["pictures/s"] > 0 and row["peak of all, MiB"] > 50 for row in rows)
