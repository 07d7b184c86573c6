"""This project's own regression check: the demonstration's models, held to the committed baseline."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks.results import baseline
from zoo.manifest import api

SCRIPT = Path(__file__).parents[3] / ".ci" / "check_demo.py"


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_demo", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_model_of_the_demonstration_is_in_the_baseline_and_no_times_are(script):
    entries = baseline.read(script.BASELINE).entries
    models = api.list_models(family="demo")
    kinds = ("accuracy", "inference")
    assert sorted((e.model, e.kind) for e in entries) == sorted((name, kind) for name in models for kind in kinds)
    assert not any(entry.times for entry in entries)
    assert all(entry.detections for entry in entries if entry.kind == "inference")


def test_the_demonstrations_models_are_as_accurate_and_as_large_as_ever(script, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # the script changes the folder, and this changes it back
    monkeypatch.setattr(sys, "argv", ["check_demo.py", "--junit", "junit.xml"])
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    status = script.main()
    assert status == 0, capsys.readouterr().out
    assert "0 failed" in (tmp_path / "summary.md").read_text()
    assert (tmp_path / "junit.xml").exists()


def test_the_baseline_is_pleasant_to_read(script):
    lines = script.BASELINE.read_text().splitlines()
    assert len(lines) < 250 and json.loads(script.BASELINE.read_text())["schema"] == baseline.SCHEMA
