"""The benchmark of the harness's own cost."""

from __future__ import annotations

import json

import torch

import zoo
from benchmarks.perf import harness
from benchmarks.speed import protocols
from tests.benchmarks.stub import StubDetector


def test_every_protocol_is_compared_with_a_bare_loop(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["harness", "--calls", "3", "--rounds", "2", "--json"])
    monkeypatch.setattr(zoo, "build", lambda name: StubDetector())
    assert harness.main() in (0, 1)  # the stub takes half a millisecond, of which 2% is not much
    rows = json.loads(capsys.readouterr().out)
    assert [row["protocol"] for row in rows] == [name for name in protocols.PROTOCOLS if name != "end-to-end"]
    assert all(row["bare_s"] > 0 and row["protocol_s"] > 0 for row in rows)


def test_a_call_under_a_protocol_is_a_call_of_the_network():
    model = StubDetector()
    workload = harness.Loaded(model, 4, torch.device("cpu"))
    for name in harness.SHORT:
        model.calls = 0
        assert workload.under(name) == model.calls >= 4
    model.calls = 0
    assert workload.bare() == model.calls == 4
