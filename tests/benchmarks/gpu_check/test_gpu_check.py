"""`bench gpu-check`: what it finds is reported, what is done is not done again, and without a GPU it says so."""

from __future__ import annotations

import json
import time
from multiprocessing import active_children
from pathlib import Path

import pytest

from benchmarks.cli import main
from benchmarks.gpu_check import networks, report, run
from benchmarks.gpu_check.networks import Findings
from benchmarks.gpu_check.run import Ended
from benchmarks.gpu_check.stages import Stage, stages
from benchmarks.results.record import Record, failed
from zoo.errors import NotTrainable

NAME = "yolox_nano_8x8_300e_coco"
EXPECTED = "mask_rcnn_x101_32x4d_fpn_sample1e-3_mstrain_1x_lvis_v1"


def found(model: str, *, equal: bool = True, faults: dict[str, str] | None = None, difference: float = 0.0) -> Record:
    """A network's record."""
    training = {"finite": True, "difference": difference, "losses": {"loss": 2.0}, "cpu": {"loss": 2.5}, "waits": 20}
    fp32 = {"equal": equal, "boxes": 1.0 if equal else 0.5, "waits": 5, "locations": {"zoo/models/a.py:3": 2}}
    metrics = {"fp32": fp32, "training fp32": training, "training fp16": "not trainable", "faults": faults or {}}
    return Record(model, networks.KIND, networks.PROTOCOL, metrics=metrics)


def test_without_a_gpu_it_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for device, said in (("cpu", "gpu-check is for GPUs; 'cpu' is none"), ("cuda:63", "cannot be used here")):
        assert main.main(["gpu-check", "--device", device, "--out", str(tmp_path / "out")]) == 2
        output = capsys.readouterr()
        assert said in output.err and output.err.count("\n") == 1 and not output.out
    assert not (tmp_path / "out").exists()


def test_a_network_goes_through_every_check_and_losses_are_those_of_the_cpu() -> None:
    record = networks.check(NAME, "cpu")
    assert record.ok and record.metrics["faults"] == {}
    assert record.metrics["fp32"]["equal"] and record.metrics["fp32, fused"]["equal"]
    assert record.metrics["training fp32"]["difference"] < 1e-4 and record.metrics["training bf16"]["finite"]
    assert record.metrics["detect"]["cpu"] == record.metrics["detect"]["device"]


def test_one_failing_check_leaves_the_others() -> None:
    findings = Findings()

    def broken() -> None:
        raise RuntimeError("CUDA error: out of memory\nmore")

    def untrainable() -> None:
        raise NotTrainable("inference only")

    findings.take("fp32", broken)
    findings.take("training fp32", untrainable)
    findings.take("fp16", lambda: 1)
    assert findings.faults == {"fp32": "RuntimeError: CUDA error: out of memory"}
    assert findings.metrics == {"training fp32": "inference only", "fp16": 1}


def test_a_stage_that_ended_well_is_not_run_again(tmp_path: Path) -> None:
    said: list[str] = []
    good, bad = Stage("good", ("parity", "--list"), 1, "names"), Stage("bad/one", ("parity", "no_such_model"), 1, "")
    first = run.run([good, bad], tmp_path, "cpu", said.append)
    assert (first["good"].status, first["bad/one"].status) == ("ok", "failed")
    assert "no_such_model" in (tmp_path / "logs" / "bad_one.log").read_text()
    (tmp_path / "logs" / "good.log").unlink()
    assert run.run([good], tmp_path, "cpu", said.append)["bad/one"].status == "failed"
    assert said[-1] == "good: done before" and not (tmp_path / "logs" / "good.log").exists()
    assert json.loads((tmp_path / run.STATE).read_text())[0]["name"] == "good"


def test_a_stage_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    assert run.run([Stage("slow", ("parity", "--all"), 0.01, "")], tmp_path, "cpu", print)["slow"].status == "timeout"


def test_networks_that_were_checked_before_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def check_all(names: list[str], device: str, workers: int) -> list[Record]:
        asked.append(list(names))
        return [found(name) if name != "b" else failed(name, networks.KIND, "broke") for name in names]

    monkeypatch.setattr(networks, "check_all", check_all)
    run.check_networks(["a", "b"], tmp_path, "cuda", 1, lambda line: None)
    assert [record.ok for record in run.check_networks(["a", "b"], tmp_path, "cuda", 1, print)] == [True, False]
    assert asked == [["a", "b"], ["b"]], "a failed one is tried again"


def test_the_report_names_what_differs_and_what_failed() -> None:
    records = [found("a"), found("b", equal=False, difference=0.2), found("c", faults={"fp16": "RuntimeError: no"})]
    text = report.render([*records, failed("d", "gpu-check", "died")], [Ended("speed", "ok", 1.2, "fps")], {})
    for part in ("| b | 50% |", "| c | fp16 | RuntimeError: no |", "| d | build | died |", "| speed | ok | 1 | fps |"):
        assert part in text
    assert "| b | 2.0e-01 | loss: 2 instead of 2.5 |" in text and "| a | 5 | 20 |" in text


def test_only_what_a_gpu_cannot_give_is_expected_to_differ() -> None:
    assert report.as_expected(found("a")) and report.as_expected(found(EXPECTED, equal=False))
    assert not report.as_expected(found("a", equal=False)) and not report.as_expected(found("a", faults={"x": "y"}))
    assert not report.as_expected(failed("a", "gpu-check", "died"))


@pytest.mark.parametrize("short", [True, False])
def test_every_stage_is_a_command_that_its_parser_takes(short: bool) -> None:
    from zoo.cli import framework

    for stage in stages(short):
        words = [word.format(device="cuda", out="out") for word in stage.words]
        parser = framework.build_parser("bench", "", main.COMMANDS, words)
        assert parser.parse_args(words).device == "cuda"


def test_an_interrupted_check_ends_its_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(futures: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(networks, "as_completed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(networks.check_all([NAME, NAME], "cpu", 1))
    begun = time.monotonic()
    while active_children() and time.monotonic() - begun < 10:
        time.sleep(0.05)
    assert not active_children()


def test_the_committed_report_is_made_of_the_committed_records() -> None:
    from benchmarks.reports import markdown
    from benchmarks.results.store import read_lines

    folder = Path(__file__).parents[3] / "reports"
    records = [record for record in read_lines(folder / "gpu.jsonl") if record.kind == networks.KIND]
    text = (folder / "gpu.md").read_text()
    tables = [report.precision_table(records), report.difference_table(records), report.training_table(records)]
    for table in (*tables, report.waits_table(records)):
        assert markdown.section(table).strip() in text
