"""The evaluation loop: images in, numbers out, whatever the batches, workers and processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import zoo
from benchmarks.accuracy import accuracy as evaluation
from benchmarks.accuracy import measure as measuring
from benchmarks.cli import main
from benchmarks.datasets.catalog import open_dataset
from benchmarks.datasets.files import DatasetError
from benchmarks.datasets.request import MetricConfig
from benchmarks.results.store import Store
from benchmarks.speed.targets import Target
from tests.benchmarks.stubs import ColorDetector
from zoo.errors import UnreadableImage

ROOT = Path(__file__).parents[3]
TINY = ROOT / "tests" / "data" / "coco"


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Any name loads the stub detector."""
    chosen = Target("stub", "stub", ColorDetector, {})
    monkeypatch.setattr(evaluation, "choose", lambda *_: (chosen, None))
    monkeypatch.setenv("ZOO_RESULTS", str(tmp_path / "results.db"))


def measure(data: Path = TINY, **options: Any) -> measuring.Accuracy:
    """The stub's accuracy on the tiny COCO."""
    dataset = open_dataset("coco_2017", data, MetricConfig(ColorDetector.classes, ("box", "mask")))
    result = measuring.measure(ColorDetector(), dataset, **options)
    assert result is not None
    return result


def test_a_detector_that_finds_everything_has_full_ap() -> None:
    numbers = measure().metrics
    assert numbers["mask_ap"] == pytest.approx(1)
    assert numbers["box_ap_50"] == pytest.approx(1)


@pytest.mark.parametrize("options", [{"batch_size": 3}, {"workers": 2}, {"batch_size": 2, "workers": 3}])
def test_batches_and_workers_do_not_change_the_numbers(options: dict[str, Any]) -> None:
    assert measure(**options).metrics == measure().metrics


def test_a_limit_evaluates_the_first_images_only() -> None:
    assert list(measure(limit=2).predictions) == [10, 17]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_image_that_does_not_decode_ends_the_run_by_name(tmp_path: Path, workers: int) -> None:
    shutil.copytree(TINY, tmp_path / "coco")
    (tmp_path / "coco" / "val2017" / "000003.jpg").write_bytes(b"no image")
    with pytest.raises(UnreadableImage, match=r"000003\.jpg"):
        measure(tmp_path / "coco", workers=workers)


def test_two_processes_give_exactly_the_numbers_of_one(tmp_path: Path) -> None:
    done = torchrun(tmp_path, "normal")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "numbers.json").read_text()) == measure(batch_size=3).metrics


def test_a_dead_worker_ends_the_run_with_a_sentence(tmp_path: Path) -> None:
    done = torchrun(tmp_path, "die")
    assert done.returncode != 0
    assert "another process of this run has died" in done.stderr
    assert not (tmp_path / "numbers.json").exists()


def torchrun(folder: Path, how: str) -> subprocess.CompletedProcess[str]:
    """sharded.py in two processes."""
    script = Path(__file__).with_name("sharded.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command += [str(script), str(folder / "numbers.json"), how]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.usefixtures("stub")
def test_the_command_prints_a_record(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "results.json"
    assert main.main(["accuracy", "stub", "--data", str(TINY), "--json", "--results-json", str(out)]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["metrics"]["box_ap_50"] == pytest.approx(1)
    assert record["parameters"]["images"] == 4
    assert Store(tmp_path / "results.db").get(record["id"]).metrics == record["metrics"]
    rows = json.loads(out.read_text())
    assert {row["category_id"] for row in rows} == {1, 4, 7}
    assert all(row["segmentation"]["size"] for row in rows)


@pytest.mark.usefixtures("stub")
@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["--data", "nowhere"], 1, "nowhere is not a folder"),
        (["--dataset", "cocoa"], 2, "no dataset 'cocoa'"),
        (["--measure", "pose"], 2, "nothing measures 'pose'"),
        (["--dataset", "voc_0712", "--protocol", "coco"], 2, "voc_0712 has a metric of its own"),
        (["--measure", "panoptic"], 2, "coco_2017 cannot evaluate 'panoptic'"),
        (["--results-json", "nowhere/out.json"], 2, "is not a folder"),
    ],
)
def test_bad_requests_are_one_sentence(
    arguments: list[str], status: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["accuracy", "stub", "--data", str(TINY), *arguments]) == status
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert Store().count() == 0


def test_a_wrong_folder_is_noticed_before_anything_is_downloaded(tmp_path: Path) -> None:
    def fail(*_: object) -> Any:
        raise AssertionError("must not be loaded")

    model = zoo.get("faster_rcnn_r50")
    with (
        pytest.MonkeyPatch.context() as patch,
        pytest.raises(DatasetError, match=r"instances_val2017\.json does not exist"),
    ):
        patch.setattr(evaluation, "choose", lambda *_: (Target(model.name, "published", fail, {}), model))
        evaluation.evaluate(model.name, evaluation.EvalConfig(data=tmp_path))


def test_proposals_are_read_as_published(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = zoo.get("rpn_r50_fpn_1x_coco")
    monkeypatch.setattr(evaluation, "choose", lambda *_: (Target(model.name, "x", ColorDetector, {}), model))
    monkeypatch.setattr(ColorDetector, "classes", None)
    record = evaluation.evaluate(model.name, evaluation.EvalConfig(data=TINY))
    assert record is not None
    assert record.protocol == "mmdet-v2"
    assert record.metrics["ar_1000"] == pytest.approx(0.9667, abs=1e-3)
    assert record.metrics["greedy_ar_1000"] > 0.9
    assert [row["metric"] for row in evaluation.comparison(record)] == ["greedy_ar_1000"]


def test_yolox_nano_on_coco38_gives_the_numbers_of_the_reference(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shared = next((p / "shared" / "data" for p in ROOT.parents if (p / "shared" / "data").is_dir()), None)
    if shared is None:
        pytest.skip("needs ../shared/data: YOLOX-nano's weights and 38 images of COCO")
    monkeypatch.setenv("ZOO_MANIFESTS", str(ROOT / "tests" / "data" / "yolox_nano_0.1.0.yaml"))
    plan = evaluation.EvalConfig(data=shared / "coco38", checkpoint=shared / "yolox_nano.pth", workers=1)
    record = evaluation.evaluate("yolox_nano_0.1.0", plan)
    assert record is not None
    readme = (shared / "README.md").read_text()
    row = next(line for line in readme.splitlines() if line.startswith("    0."))
    assert list(record.metrics.values()) == pytest.approx([float(word) for word in row.split()], abs=5e-4)
