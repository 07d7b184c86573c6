"""Detectors run on a pretended CUDA device without mixing devices or types, and the host rarely waits for it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.perf import pretend_cuda, pretended_commands, pretended_kinds, pretended_report, pretended_runs
from benchmarks.perf.pretended_device import PretendCuda
from benchmarks.perf.pretended_operators import DeviceFault
from zoo.models.component_table import COMPONENTS

REPORTS = Path(__file__).parents[3] / "reports"
CUDA_BUILD = torch.version.cuda is not None
MODES = ("fp32", "fp16", "fuse", "channels_last", "detect")
# Waits in the losses of an image: where the host must match or count to go on.
LOSSES = {
    "yolox_nano_8x8_300e_coco": 3,
    "detr_r50_8x2_150e_coco": 1,
    "dino-4scale_r50_8xb2-12e_coco": 1,
    "ddq-detr-4scale_r50_8xb2-12e_coco": 10,
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["yolox_nano_8x8_300e_coco", "retinanet_r18_fpn_1x_coco"])
def test_a_detector_runs_on_the_pretended_device(name: str, mode: str) -> None:
    row = pretended_runs.run(name, mode, backward=False, small=True)
    assert row["ok"], row
    if mode == "fp32":
        assert row["syncs"] <= pretended_kinds.needed(name)
        assert float(row["result"].rpartition("scores within ")[2]) < 1e-6, row  # another memory format on a CPU


@pytest.mark.parametrize(
    "name", [*list(LOSSES)[:2], *(pytest.param(x, marks=pytest.mark.slow) for x in list(LOSSES)[2:])]
)
def test_losses_wait_only_where_they_must(name: str) -> None:
    row = pretended_runs.run(name, "losses", backward=not CUDA_BUILD, small=True)
    assert row["ok"], row
    assert row["syncs"] <= LOSSES[name], row["locations"]


@pytest.mark.parametrize("name", ["bench inference, options", "bench accuracy", "bench parity", "zoo detect"])
def test_a_command_runs_whole_on_the_pretended_device(name: str, tmp_path: Path) -> None:
    row = pretended_commands.run(name, tmp_path)
    assert row["ok"], row
    assert row["operators"] > 100


@pytest.mark.skipif(not (shutil.which("gcc") and shutil.which("nm")), reason="stands in for the driver with gcc and nm")
def test_training_commands_run_whole_on_the_pretended_device(tmp_path: Path) -> None:
    """In a process of their own: a PyTorch built for CUDA asks the driver before it computes gradients."""
    rows = tmp_path / "rows.jsonl"
    command = [sys.executable, "-m", "benchmarks.perf.pretend_cuda", "bench training", "zoo train", "--json", str(rows)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [row["name"] for row in pretend_cuda.read(rows) if row["ok"]] == ["bench training", "zoo train"]


def test_a_command_that_fails_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(pretended_commands.COMMANDS, "wrong", ("bench", "parity", "no_such_model"))
    row = pretended_commands.run("wrong", tmp_path)
    assert not row["ok"] and "no_such_model" in row["result"]


def test_every_detector_backbone_neck_and_head_is_represented() -> None:
    shown = pretended_kinds.representatives()
    present = {kind for name in shown for kind in pretended_kinds.own_kinds(name)}
    used = {kind for name in pretended_kinds.api.architecture_names() for kind in pretended_kinds.own_kinds(name)}
    assert present == used and len(shown) < 120
    assert all(COMPONENTS[kind].partition(".")[0] in pretended_kinds.PACKAGES for kind in present)


def test_the_committed_table_has_no_faults_and_is_made_of_the_committed_rows() -> None:
    rows = pretend_cuda.read(REPORTS / "pretended_gpu.jsonl")
    have = {(row["name"], row["mode"]) for row in rows if row["result"] != pretended_runs.NOT_RUN}
    assert all(row["ok"] for row in rows)
    assert have >= {(name, "command") for name in pretended_commands.COMMANDS}
    assert all(len({name for name, own in have if own == mode}) > 60 for mode in ("fp32", "losses"))
    assert (REPORTS / "pretended_gpu.md").read_text() == pretended_report.render(rows)


def test_what_was_run_is_not_run_again_and_faults_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, ran = tmp_path / "rows.jsonl", []
    rows = [{"name": "a", "mode": "fp32", "ok": True, "result": "ok", "syncs": 3, "kinds": {}, "operators": 1}]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {**rows[0], "mode": "fp16", "ok": False}]))
    monkeypatch.setattr(pretended_runs, "run", lambda name, mode, *_: [ran.append(mode), {**rows[0], "mode": mode}][1])
    monkeypatch.setattr("sys.argv", ["pretend_cuda", "a", "--modes", "fp32,fp16,bf16", "--json", str(path)])
    assert pretend_cuda.main() == 0
    assert ran == ["fp16", "bf16"] and len(pretend_cuda.read(path)) == 3


def test_tensors_of_two_devices_do_not_meet() -> None:
    with PretendCuda():
        moved = torch.ones(3).to("cuda")
        assert moved.device.type == "cuda" and (moved + 1).cpu().tolist() == [2, 2, 2]
        with pytest.raises(DeviceFault, match="same device"):
            moved + torch.ones(3)


def test_a_wait_is_counted_with_its_kind() -> None:
    with PretendCuda() as gpu:
        moved = torch.ones(3).to("cuda")
        gpu.clear()
        float(moved.sum())
    assert gpu.kinds["item"] == 1
