"""The demonstration: small checkpoints in the package, and what they were stated to reach."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

import zoo
from benchmarks.accuracy import accuracy
from benchmarks.cli import demo
from benchmarks.cli.commands import demo as command
from benchmarks.datasets import demo as shapes
from benchmarks.results.record import Record
from benchmarks.results.store import Store
from tests.benchmarks.reports.pages import data_of
from zoo.manifest import api

MODELS = ("demo_atss", "demo_mask_rcnn", "demo_yolox")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return shapes.write(tmp_path_factory.mktemp("demo"))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ZOO_OFFLINE", "1")


def test_there_is_a_two_stage_a_dense_and_an_anchor_free_detector():
    assert tuple(zoo.list_models(family=demo.FAMILY)) == MODELS


@pytest.mark.parametrize("name", MODELS)
def test_checkpoints_are_small_and_named_after_their_hash(name):
    path = zoo.fetch(name)
    content = path.read_bytes()
    assert len(content) < 4 * 2**20
    assert path.stem == f"{name}-{hashlib.sha256(content).hexdigest()[:8]}"


@pytest.mark.parametrize("name", MODELS)
def test_a_checkpoint_describes_its_own_network(name):
    own, known = zoo.load_file(zoo.fetch(name)), zoo.load(name)
    assert own.classes == shapes.CLASSES == api.dataset("demo").classes
    weights = known.state_dict()
    assert all(weights[key].equal(value) for key, value in own.state_dict().items())


@pytest.mark.parametrize("name", MODELS)
def test_the_stated_accuracy_is_reproduced(name, data):
    record = accuracy.evaluate(name, accuracy.EvalConfig(data=data))
    compared = {row["metric"] for row in accuracy.comparison(record)}
    assert compared == {"box_ap", "mask_ap"} if name == "demo_mask_rcnn" else compared == {"box_ap"}
    assert demo.differences(record) == []


def test_another_accuracy_is_a_sentence_and_fails_the_command(monkeypatch, capsys, tmp_path):
    parameters = {"dataset": "demo", "split": "val", "images": 100, "weights": "published"}
    record = Record(model="demo_yolox", kind="accuracy", metrics={"box_ap": 0.1234}, parameters=parameters)
    assert len(demo.differences(record)) == 1
    monkeypatch.setattr(demo, "run", lambda folder, device, fast: demo.Outcome([record], demo.differences(record)))
    assert command.run(command_line(tmp_path)) == 1
    assert "demo_yolox: box_ap is 12.34, not" in capsys.readouterr().err


def command_line(folder):
    import argparse

    parser = argparse.ArgumentParser()
    command.configure(parser)
    return parser.parse_args(["--out", str(folder)])


def test_the_command_writes_reports_with_drawings(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(demo, "QUICK", demo.QUICK | {"min_iterations": 1, "min_seconds": 0.0, "warmup_seconds": 0.0})
    monkeypatch.setattr(demo.inference, "EFFECT", demo.inference.EFFECT | {"min_iterations": 1, "warmup_seconds": 0.0})
    monkeypatch.setattr(demo, "TIMED", 2)
    monkeypatch.setattr(demo, "DRAWN", 1)
    monkeypatch.setattr(demo.zoo, "list_models", lambda family=None: ["demo_yolox"])
    assert command.run(command_line(tmp_path)) == 0
    printed = capsys.readouterr().out
    assert all(str(tmp_path / name) in printed for name in demo.REPORTS)
    text, page = (tmp_path / "report.md").read_text(), data_of(tmp_path / "report.html")
    assert "demo_yolox" in text and "fuse_conv_bn" in text
    assert page["models"][0]["images"][0]["src"].startswith("data:image/png;base64,")
    (training,) = Store(tmp_path / "results.db").select(kind="log")
    assert training.model == "demo_yolox" and 100 * max(training.samples["box_ap"]) > 60
    assert len(list((tmp_path / "images" / "demo_yolox").glob("*.png"))) == 1
