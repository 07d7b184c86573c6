"""`--runtime auto`: the fastest runtime that gives the network's detections."""

from __future__ import annotations

import copy
import time

import pytest

from benchmarks.speed import auto_runtime, images
from tests.benchmarks.stub import StubDetector
from zoo.errors import UsageError

RUNTIMES = ("torch", "onnxruntime", "openvino")


class Delayed(StubDetector):
    """A detector that takes so many seconds longer."""

    delay = 0.0

    def predict(self, *args):
        time.sleep(self.delay)
        return super().predict(*args)


@pytest.fixture
def network():
    made = Delayed()
    made.delay = 0.05
    return made


def test_the_fastest_one_with_the_same_detections_is_chosen(network):
    fast = copy.deepcopy(network)
    fast.delay = 0.0
    source = images.generated(2, (96, 128))
    chosen, detector, took = auto_runtime.fastest(network, lambda name: fast, RUNTIMES[:2], source)
    assert chosen == "onnxruntime" and detector is fast and took["onnxruntime"] < took["torch"]
    assert set(auto_runtime.rounded(took)) == {"torch", "onnxruntime"}


def test_one_that_detects_something_else_or_cannot_run_is_left_out(network, capsys):
    other = StubDetector(seed=1)

    def exported(name):
        if name == "openvino":
            raise UsageError("no such operator")
        return other

    chosen, detector, took = auto_runtime.fastest(network, exported, RUNTIMES, images.generated(2, (96, 128)))
    assert chosen == "torch" and detector is network and list(took) == ["torch"]
    assert "openvino is left out: no such operator" in capsys.readouterr().err


def test_only_what_is_installed_is_tried(monkeypatch):
    monkeypatch.setattr(auto_runtime, "find_spec", lambda name: None)
    assert auto_runtime.installed(RUNTIMES) == ["torch"]
