"""`bench logs` on logs as MMDetection, Detectron2 and `zoo train` write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cli import main
from benchmarks.reports import training_logs
from benchmarks.results.store import Store


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    """Two epochs of 150 iterations; the first line of each is slow."""
    rows: list[dict[str, Any]] = [{"env_info": "sys.platform: linux", "seed": 0}]
    for epoch, seconds in ((1, 0.2), (2, 0.4)):
        for iteration in (50, 100, 150):
            time = 9.0 if iteration == 50 else seconds
            facts = {"lr": 0.02, "memory": 3000 + epoch, "data_time": 0.01, "loss_cls": 1.0, "loss": 3.0 - epoch}
            rows.append({"mode": "train", "epoch": epoch, "iter": iteration, **facts, "time": time})
        metrics = {"bbox_mAP": 0.1 * epoch, "bbox_mAP_50": 0.2 * epoch, "bbox_mAP_s": 0.05, "segm_mAP": 0.08 * epoch}
        rows.append({"mode": "val", "epoch": epoch, "iter": 5000, "lr": 0.02, **metrics, "bbox_mAP_copypaste": "0.1"})
    return write(tmp_path / "retinanet.log.json", rows)


def test_a_log_of_mmdetection_tells_times_memory_and_ap(reference: Path) -> None:
    log = training_logs.read(reference)
    result = training_logs.summary(log)
    assert log.name == "retinanet"
    assert result["epochs"] == 2
    assert result["iterations_per_epoch"] == 150
    assert result["epoch_s"] == pytest.approx(0.3 * 150)
    assert (result["fastest_epoch"], result["slowest_epoch"]) == (1, 2)
    assert result["fastest_epoch_s"] == pytest.approx(30)
    assert result["slowest_epoch_s"] == pytest.approx(60)
    assert result["iteration_s"] == pytest.approx((9 + 0.2 + 0.2 + 9 + 0.4 + 0.4) / 6)
    assert result["memory_mib"] == 3002
    assert result["box_ap"] == pytest.approx(20)
    assert result["mask_ap"] == pytest.approx(16)
    assert log.series("box_ap") == ([1, 2], pytest.approx([10, 20]))
    assert log.series("box_ap_small")[1] == [5, 5]
    assert log.series("loss")[0] == pytest.approx([1 / 3, 2 / 3, 1, 4 / 3, 5 / 3, 2])


def test_an_ap_of_no_objects_is_not_a_number() -> None:
    row = {"mode": "val", "epoch": 1, "iter": 5, "bbox_mAP": 0.2, "bbox_mAP_l": -1.0}
    assert training_logs.metrics_of(row) == {"box_ap": 20.0}


def test_of_a_resumed_run_the_later_lines_count(tmp_path: Path) -> None:
    rows = [{"mode": "train", "epoch": 1, "iter": i, "loss": loss, "time": 1} for i, loss in ((1, 5), (2, 6), (2, 4))]
    assert training_logs.read(write(tmp_path / "a.json", rows)).series("loss")[1] == [5, 4]


def test_a_log_of_detectron2_counts_iterations(tmp_path: Path) -> None:
    rows = [
        {"iteration": 19, "total_loss": 2.5, "time": 0.5, "data_time": 0.1, "lr": 0.001},
        {"iteration": 39, "total_loss": 1.5, "time": 0.3, "data_time": 0.1, "bbox/AP": 37.9, "bbox/AP50": 58.1},
        {"iteration": 39, "bbox/AP-person": 50.0},
    ]
    log = training_logs.read(write(tmp_path / "metrics.json", rows))
    result = training_logs.summary(log)
    assert result["iteration_s"] == pytest.approx(0.4)
    assert result["box_ap"] == 37.9
    assert result["epoch_s"] is None
    assert result["memory_mib"] is None, "what a log does not tell is not 0"
    assert log.series("loss") == ([20, 40], [2.5, 1.5])


def test_a_log_of_version_3_has_no_modes(tmp_path: Path) -> None:
    rows = [
        {"lr": 0.1, "data_time": 0.01, "loss": 2.0, "time": 0.5, "epoch": 1, "iter": 50, "memory": 100, "step": 50},
        {"coco/bbox_mAP": 0.3, "data_time": 0.1, "time": 0.2, "step": 1},
    ]
    log = training_logs.read(write(tmp_path / "scalars.json", rows))
    assert log.series("box_ap") == ([1], [30])
    assert training_logs.summary(log)["iteration_s"] == 0.5


def test_a_run_that_is_being_written_can_be_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", [{"mode": "train", "epoch": 1, "iter": 1, "loss": 1, "time": 1}])
    path.write_text(path.read_text() + '{"mode": "tra')
    assert len(training_logs.read(path).lines) == 1


@pytest.mark.parametrize("text", ["not json\n{}\n", '{"a": 1}\n', ""])
def test_other_files_are_refused_in_a_sentence(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.json").write_text(text)
    assert main.main(["logs", str(tmp_path / "x.json")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("bench: ")
    assert error.count("\n") == 1


def test_several_logs_stand_side_by_side_and_in_one_plot(
    reference: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "other").mkdir()
    other = write(tmp_path / "other" / "log.json", [{"mode": "train", "epoch": 1, "iter": 1, "loss": 1.0, "time": 1.0}])
    plot, store, table = tmp_path / "curves.png", tmp_path / "r.db", tmp_path / "curves.csv"
    command = ["logs", str(reference), str(other), "--plot", str(plot), "--results", str(store), "--csv", str(table)]
    assert main.main(command) == 0
    lines = table.read_text().splitlines()
    assert lines[0] == "log,key,unit,at,value"
    assert {"other,loss,epoch,1.0,1.0", "retinanet,box_ap,epoch,1.0,10.0"} <= set(lines)
    assert plot.read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert "retinanet" in printed
    assert "other" in printed
    kept = Store(store).select(kind="log", model="retinanet")
    assert kept[0].samples["box_ap"] == pytest.approx([10, 20])
    assert main.main(["logs", str(other), "--plot", str(plot), "--keys", "nonsense"]) == 2
    assert "no log has 'nonsense'" in capsys.readouterr().err
