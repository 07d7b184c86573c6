"""`bench training`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cli import main
from benchmarks.datasets import demo
from benchmarks.results.store import Store

BENCH = str(Path(sys.executable).with_name("bench"))


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return demo.write(tmp_path_factory.mktemp("shapes"), {"train": 8})


def bench(capsys: pytest.CaptureFixture[str], tmp_path: Path, *options: str) -> dict[str, Any]:
    store = str(tmp_path / "results.db")
    command = ["training", "demo_atss", "--workers", "0", "--results", store, "--json", *options]
    assert main.main(command) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert Store(store).get(record["id"]).to_dict() == record
    return dict(record)


def test_only_iterations_after_the_warm_up_count(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", str(shapes), "--set", "iterations=5", "--set", "skipped=2", "--accumulate", "2"]
    record = bench(capsys, tmp_path, *options, "--precision", "bf16", "--batch-size", "1")
    samples, metrics = record["samples"], record["metrics"]
    assert len(samples["iteration_s"]) == len(samples["loss"]) == 5
    mean = sum(samples["iteration_s"][2:]) / 3
    assert metrics["iteration_s"] == pytest.approx(mean)
    assert metrics["images_per_second"] == pytest.approx(2 / mean)
    assert metrics["data_s"] + metrics["compute_s"] == pytest.approx(mean)
    assert metrics["resident_peak_mib"] > 0
    assert record["parameters"]["departs_in"] == ["iterations", "skipped"]
    assert record["parameters"]["images"] == f"8 from {shapes}"


def test_detectron2_prepares_its_batches_beforehand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--protocol", "detectron2", "--batch-size", "1"]
    changes = ["--set", "iterations=4", "--set", "skipped=1", "--set", "prepared=2"]
    record = bench(capsys, tmp_path, *options, *changes)
    assert record["parameters"]["images"] == "64 generated"
    assert max(record["samples"]["data_s"][1:]) < 0.05 * record["metrics"]["iteration_s"]


def test_requests_that_make_no_sense_end_in_a_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    options = ["--set", "iterations=1", "--set", "skipped=0", "--workers", "0", "--batch-size", "1"]
    assert main.main(["training", "no_such_model", *options, "--results", str(tmp_path / "r.db")]) == 2
    assert main.main(["training", "demo_atss", "--set", "skipped=500"]) == 2
    assert "leave none" in capsys.readouterr().err


def test_two_processes_make_one_record(shapes: Path, tmp_path: Path) -> None:
    """As documented, in a folder with a package `benchmarks` of the user's own."""
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "__init__.py").write_text("raise ImportError('not this one')")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "--no-python"]
    command += [
        str(Path(sys.executable).with_name("bench")),
        "training",
        "demo_atss",
        "--data",
        str(shapes),
        "--workers",
        "0",
        "--batch-size",
        "2",
    ]
    command += ["--set", "iterations=2", "--set", "skipped=1", "--results", str(tmp_path / "results.db")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stderr
    (record,) = Store(tmp_path / "results.db").select()
    assert record.parameters["processes"] == 2
    assert record.metrics["images_per_second"] == pytest.approx(4 / record.metrics["iteration_s"])


def test_the_largest_peak_counts_only_processes_that_could_read_it() -> None:
    from benchmarks.speed.training import largest

    peaks = [{"a": None, "b": 1.5, "scope": "process"}, {"a": 2.0, "b": 0.5, "scope": "process"}]
    assert largest(peaks) == {"a": 2.0, "b": 1.5, "scope": "process"}
    assert largest([{"a": None}, {"a": None}]) == {"a": None}


def test_a_failing_process_ends_instead_of_keeping_the_others_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.cli.commands import training as command
    from benchmarks.speed import training
    from benchmarks.speed.training_config import TrainingConfig
    from zoo.errors import ZooError

    def fail(*arguments: Any) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(training, "measure", fail)
    record = command.measured("demo_atss", TrainingConfig())
    assert record is not None and not record.ok, "alone, the next network is measured"
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ZooError, match="rank 1 of 2 failed: out of memory"):
        command.measured("demo_atss", TrainingConfig())
