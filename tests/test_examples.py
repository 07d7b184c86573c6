"""The scripts and the notebook in examples/ run and give what they promise."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

import zoo
from benchmarks.datasets import demo

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("examples")
    demo.write(made / "shapes", {"train": 4, "val": 4})
    return made


def run(folder: Path, script: str, *words: str) -> str:
    """The standard output of an example that must succeed."""
    environment = {**os.environ, "ZOO_CACHE": str(folder / "cache"), "ZOO_OFFLINE": "1"}
    command = [sys.executable, str(EXAMPLES / script), *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_detect_prints_what_the_model_detects_and_draws_it(folder):
    rows = list(csv.DictReader(run(folder, "detect.py", "shapes/val/000001.png", "--out", "drawn").splitlines()))
    detections = zoo.load("demo_mask_rcnn").detect([folder / "shapes/val/000001.png"])[0]
    assert len(rows) == int((detections.scores >= 0.3).sum()) > 0
    assert float(rows[0]["x1"]) == pytest.approx(float(detections.boxes[0, 0]), abs=0.051)
    assert (folder / "drawn" / "000001.png").is_file()


def test_compare_models_shows_measured_and_published_accuracy(folder):
    words = ("demo_yolox", "--data", "shapes", "--dataset", "demo", "--timed", "2")
    line = run(folder, "compare_models.py", *words).splitlines()[-1]
    name, measured, published, latency = (cell.strip() for cell in line.strip("|").split("|"))
    assert name == "demo_yolox" and published == "71.2%"
    assert 0 < float(measured.rstrip("%")) <= 100 and float(latency) > 0


def test_the_training_loop_learns_and_its_weights_load(folder):
    lines = run(folder, "training_loop.py", "--data", "shapes", "--steps", "30", "--out", "weights.safetensors")
    losses = [float(line.split()[3]) for line in lines.splitlines()]
    assert losses[-1] < losses[0]
    assert zoo.load_file(folder / "weights.safetensors", "demo_atss").classes == demo.CLASSES


def test_the_notebook_runs(folder, monkeypatch):
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    import nbformat

    monkeypatch.setenv("ZOO_CACHE", str(folder / "cache"))
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    notebook = nbformat.read(EXAMPLES / "quickstart.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    kinds = {kind for cell in notebook.cells for output in cell.get("outputs", ()) for kind in output.get("data", ())}
    assert "image/png" in kinds
