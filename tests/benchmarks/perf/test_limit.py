"""The share of the machine's limit is that of the median of several runs."""

from __future__ import annotations

import argparse

import pytest

from benchmarks.perf import limit

SHARES = {("native", "2"): [0.8, 0.6, 0.75], ("avx2", "2"): [0.5, 0.7, 0.9]}


def test_each_condition_has_its_median_run_and_all_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, str]] = []

    def run(instructions: str, threads: str, pattern: str) -> list[dict[str, object]]:
        key = (instructions, threads)
        calls.append(key)
        return [{"model": pattern, "instructions": instructions, "share": SHARES[key][calls.count(key) - 1]}]

    monkeypatch.setattr(limit, "run", run)
    rows = list(limit.collected(argparse.Namespace(instructions="native,avx2", threads="2", k="ssd", runs=3)))
    assert [(row["instructions"], row["share"], row["shares"]) for row in rows] == [
        ("native", 0.75, [0.8, 0.6, 0.75]),
        ("avx2", 0.7, [0.5, 0.7, 0.9]),
    ]
    assert calls == [("native", "2"), ("avx2", "2")] * 3  # in turns


def test_of_an_even_number_of_runs_the_lower_one_counts() -> None:
    assert limit.median_run([{"share": 0.9}, {"share": 0.7}])["share"] == 0.7
