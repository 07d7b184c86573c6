"""The benchmark of evaluation at size, on few pictures."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import zoo
from benchmarks import accuracy
from benchmarks.datasets import Request, demo, open_dataset
from benchmarks.perf.accuracy_scale import growth, run


def test_growth_leaves_the_start_out() -> None:
    assert growth([100.0] * 20 + [500.0] * 80) == 0
    assert growth([float(n) for n in range(100)]) == pytest.approx(60)


@pytest.mark.skipif(sys.platform != "linux", reason="resident sizes are read from /proc")
def test_two_processes_give_the_numbers_of_one(tmp_path: Path) -> None:
    data = demo.write(tmp_path / "data", {"val": 9})
    network = zoo.load("demo_atss").eval()
    dataset = open_dataset("demo", data, Request(tuple(network.classes or ()), ("box",)))
    single = accuracy.measure(network, dataset, progress=False)
    assert single is not None
    together = run("demo_atss", data, processes=2, threads=0)
    assert together["metrics"] == single.metrics
    assert together["peak"] > 0
