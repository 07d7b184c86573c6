"""Sweeps: one row costs one row, and a killed sweep goes on where it was."""

from __future__ import annotations

import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.cli import main
from benchmarks.results.record import Record, ResultsError, failed
from benchmarks.results.store import Store
from benchmarks.sweep import job, skip_reasons, sweep
from benchmarks.sweep.job import Job, Limits
from benchmarks.sweep.outcome import ending
from benchmarks.sweep.progress import View
from zoo.errors import UsageError
from zoo.manifest import api

LIMITS = Limits(seconds=30)
MODELS = ["a", "b", "c"]


def runner(**endings):
    """A runner that fails for some models, and remembers what it ran."""

    def run(r: Job, limits: Limits) -> Record:
        run.seen.append(r.model)
        if endings.get(r.model):
            return job.mark(failed(r.model, r.kind, endings[r.model]), r)
        return job.mark(Record(r.model, r.kind, metrics={"fps": 1.0}), r)

    run.seen = []
    return run


def go(store: Store, run, rows, **options):
    steps = sweep.run(rows, store, sweep.local(fetch=False, runner=run), LIMITS, **options)
    return [(r, record) for r, record in steps if record is not None]


def test_every_job_ends_and_a_failure_costs_one(tmp_path):
    store, rows = Store(tmp_path / "r.db"), sweep.plan("accuracy", MODELS, [])
    ended = {r.model: record.status for r, record in go(store, runner(b="out of memory"), rows)}
    assert ended == {"a": "ok", "b": "failed", "c": "ok"}


def test_a_job_without_a_network_is_skipped(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    record = job.guarded(Job("s", "inference", "yolox_tiny_8x8_300e_coco"), Limits(seconds=120))
    assert ending(record) == "skipped (no network)"


def test_so_is_one_whose_process_only_says_so(monkeypatch):
    script = "import sys; print('bench: no network: nobody answers', file=sys.stderr); sys.exit(1)"
    monkeypatch.setattr(job, "command", lambda *_: [sys.executable, "-c", script])
    assert ending(job.run(Job("s", "accuracy", "a"), LIMITS)) == "skipped (no network)"


def test_the_same_command_runs_only_what_is_missing(tmp_path):
    store, rows = Store(tmp_path / "r.db"), sweep.plan("accuracy", MODELS, [])
    first = runner()
    steps = sweep.run(rows, store, sweep.local(fetch=False, runner=first), LIMITS)
    assert [record is None for _, record in (next(steps), next(steps))] == [True, False]
    steps.close()  # the sweep dies behind its first row
    second = runner(c="crash")
    go(store, second, rows)
    assert "a" not in second.seen and "c" in second.seen
    third = runner()
    go(store, third, rows, retry_failed=True)
    assert third.seen == ["c"]


def test_a_sweep_knows_the_records_of_earlier_versions(tmp_path):
    store, jobs = Store(tmp_path / "results.db"), sweep.plan("accuracy", ["a", "b"], [])
    store.append(Record("a", "accuracy", metrics={"box_ap": 0.5}, parameters={"sweep": jobs[0].sweep, "row": "a"}))
    assert [one.model for one in sweep.progress(jobs, store).pending(False)] == ["b"]


def test_a_job_gets_the_manifests_of_the_sweep(tmp_path, monkeypatch):
    monkeypatch.setattr(api, "_added", [tmp_path / "own.yaml"])
    words = job.command(Job("s", "inference", "mine"), tmp_path / "results.db")
    assert words[4:8] == ["--manifest", str(tmp_path / "own.yaml"), "inference", "mine"]


def test_another_command_is_another_sweep(tmp_path):
    store = Store(tmp_path / "r.db")
    go(store, runner(), sweep.plan("accuracy", MODELS, ["--limit", "5"]))
    assert len(sweep.progress(sweep.plan("accuracy", MODELS, []), store).pending(False)) == 3


def test_a_full_disk_costs_the_job_that_finds_it(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(job, "execute", full)
    record = job.guarded(Job("s", "accuracy", "a"), LIMITS)
    assert record.status == "failed" and "No space left" in record.reason


def test_records_wait_while_the_stores_disk_is_full(tmp_path, monkeypatch):
    store, rows, extend = Store(tmp_path / "r.db"), sweep.plan("accuracy", MODELS, []), Store.extend
    fails = iter([False, True, True, False])

    def sometimes(self, records):
        if next(fails):
            raise ResultsError("database or disk is full")
        return extend(self, records)

    monkeypatch.setattr(Store, "extend", sometimes)
    assert len(go(store, runner(), rows)) == 3
    monkeypatch.undo()
    assert [r.model for r in store.select()] == MODELS


def test_a_store_that_stays_full_is_said_and_its_jobs_run_again(tmp_path, monkeypatch):
    store, rows = Store(tmp_path / "r.db"), sweep.plan("accuracy", MODELS, [])
    store.extend([])
    with sqlite3.connect(store.path) as connection:
        connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON records BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
        )
    with pytest.raises(ResultsError, match="disk is full"):
        go(store, runner(), rows)
    assert len(sweep.progress(rows, store).pending(retry_failed=False)) == 3


def test_a_skipped_job_has_a_reason_and_is_looked_at_again(tmp_path):
    store, rows = Store(tmp_path / "r.db"), sweep.plan("accuracy", MODELS, [])
    reasons = {"b": "no weights were published"}
    ended = {r.model: record for r, record in go(store, runner(), rows, skip=lambda r: reasons.get(r.model))}
    assert (ended["b"].status, ended["b"].reason) == ("skipped", "no weights were published")
    assert go(store, runner(), rows, skip=lambda r: reasons.get(r.model)) == []  # nothing is recorded twice
    assert [r.model for r, _ in go(store, runner(), rows)] == ["b"]


def test_what_needs_missing_weights_data_or_records_is_skipped(tmp_path):
    def reason(kind, model, *options):
        return skip_reasons.reason(sweep.plan(kind, [model], options)[0])

    assert reason("inference", "fast_rcnn_r50_fpn_1x_coco") == "no weights were published"
    assert reason("inference", "fast_rcnn_r50_fpn_1x_coco", "--random-weights") is None
    assert "nowhere does not exist" in reason("accuracy", "retinanet_r50_fpn_1x_coco", "--data", "nowhere")
    data = Path(__file__).parents[2] / "data" / "coco"
    assert reason("accuracy", "retinanet_r50_fpn_1x_coco", "--data", str(data)) is None
    assert "lvis_v1_val.json does not exist" in reason(
        "accuracy", "mask_rcnn_r50_fpn_sample1e-3_mstrain_1x_lvis_v1", "--data", str(data)
    )
    assert reason("parity", "retinanet_r50_caffe_fpn_1x_coco") is None
    assert reason("parity", "mask_rcnn_r50_fpn_sample1e-3_mstrain_1x_lvis_v1")


def test_options_that_the_benchmark_does_not_know_are_misuse(capsys):
    assert main.main(["sweep", "accuracy", "retinanet_r50_fpn_1x_coco", "--with", "--dta coco"]) == 2
    assert "unknown option --dta. Nearest: --data" in capsys.readouterr().err


def test_timed_jobs_never_run_side_by_side():
    with pytest.raises(UsageError, match="disturb"):
        list(sweep.local(2)(sweep.plan("inference", MODELS, []), LIMITS))


def test_two_sweeps_take_turns_on_one_device(monkeypatch, tmp_path):
    monkeypatch.setattr(job.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    order: list[str] = []

    def timed(device: str) -> threading.Thread:
        def work() -> None:
            with job.turn(Job("s", "inference", "m", ("--device", device))):
                order.append(device)

        thread = threading.Thread(target=work)
        thread.start()
        return thread

    with job.turn(Job("s", "inference", "m", ("--device", "cuda"))):
        other, same = timed("cuda:1"), timed("cuda:0")
        other.join(10)
        assert order == ["cuda:1"]  # cuda is the first one
    same.join(10)
    assert order == ["cuda:1", "cuda:0"]


def test_a_clusters_first_gpu_is_another_one_for_each_job(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    assert job.physical("cuda") == job.physical("cuda:0") == "cuda-5"


def test_a_sweep_that_is_interrupted_stops_its_jobs(tmp_path, monkeypatch):
    before = threading.active_count()
    monkeypatch.setattr(job, "command", lambda r, store: python("import time; time.sleep(60)"))
    steps = sweep.local(fetch=False)(sweep.plan("accuracy", ["a"], []), LIMITS)
    next(steps)
    time.sleep(0.5)
    began = time.monotonic()
    steps.close()
    while threading.active_count() > before and time.monotonic() - began < 30:
        time.sleep(0.1)
    assert threading.active_count() <= before  # half a minute before the row would have ended by itself


def python(text: str) -> list[str]:
    return [sys.executable, "-c", text]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("pass", ""),
        ("import sys; sys.exit(3)", "exit status 3"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "killed by SIGSEGV"),
    ],
)
def test_how_a_process_ended_is_said(tmp_path, text, reason):
    assert job.execute(python(text), tmp_path / "log", LIMITS) == reason


def test_a_hang_is_stopped(tmp_path):
    assert "stopped after" in job.execute(python("import time; time.sleep(60)"), tmp_path / "log", Limits(0.5))


@pytest.mark.skipif(sys.platform != "linux", reason="resident sizes are read from /proc")
def test_too_much_memory_is_stopped(tmp_path):
    text = "import time; x = bytearray(300 * 2**20); time.sleep(60)"
    assert "the limit is 150" in job.execute(python(text), tmp_path / "log", Limits(60, memory_mib=150))


def test_a_job_without_a_record_is_failed_with_what_was_said():
    record = job.run(Job("s", "inference", "no_such_model"), LIMITS)
    assert record.status == "failed" and "no model" in record.reason
    assert record.parameters == {"sweep": "s", "job": "no_such_model"}


KILLED = """
import sys, time
from benchmarks.results.record import Record
from benchmarks.results.store import Store
from benchmarks.sweep import job, sweep
def run(r, limits):
    time.sleep(0.3)
    return job.mark(Record(r.model, r.kind, metrics={"fps": 1.0}), r)
rows = sweep.plan("accuracy", [str(i) for i in range(8)], [])
for r, record in sweep.run(rows, Store(sys.argv[1]), sweep.local(fetch=False, runner=run), job.Limits()):
    if record is not None:
        print(r.model, flush=True)
"""


def test_a_sweep_killed_at_any_time_resumes_exactly(tmp_path):
    file = tmp_path / "r.db"
    words = [sys.executable, "-c", KILLED, str(file)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3])
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = [r.model for r in Store(file).select()]
    assert 1 <= len(done) < 8
    again = subprocess.run(words, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    assert again.stdout.split() == [str(i) for i in range(8) if str(i) not in done]
    assert sorted(r.model for r in Store(file).select()) == [str(i) for i in range(8)]


def test_dry_run_says_what_would_run_and_runs_nothing(tmp_path, capsys):
    store = tmp_path / "r.db"
    assert main.main(["sweep", "inference", "yolox_s*", "--dry-run", "--json", "--results", str(store)]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [r["result"] for r in rows] == ["to run"] and not store.exists()


def test_dry_run_says_which_failed_jobs_would_run_again(tmp_path, capsys):
    store = Store(tmp_path / "r.db")
    rows = sweep.plan("inference", ["yolox_s_8x8_300e_coco"], ["--device", "cpu"])
    go(store, runner(yolox_s_8x8_300e_coco="crash"), rows)
    words = ["sweep", "inference", "yolox_s*", "--dry-run", "--json", "--results", str(store.path)]
    told = []
    for more in ([], ["--retry-failed"]):
        assert main.main([*words, *more]) == 0
        told.append(json.loads(capsys.readouterr().out)[0]["result"])
    assert told == ["failed (crash)", "to run again; failed (crash)"]


def test_the_progress_table_has_running_and_ended_jobs_and_counts():
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    view, rows = View(4, {"old": Record("old", "accuracy")}, console), sweep.plan("accuracy", MODELS, [])
    for r in rows[:2]:
        view.step(r, None)
    view.step(rows[0], failed("a", "accuracy", "out of [memory]"))
    console.print(view.table())
    text = console.file.getvalue()
    assert "2 of 4: 1 ok, 1 failed, 0 skipped, 1 running" in text and "left" in text
    assert "failed (out of [memory])" in text and "running" in text


def test_without_a_terminal_each_job_is_a_line():
    console = Console(file=io.StringIO(), force_terminal=False)
    view, rows = View(3, {}, console), sweep.plan("accuracy", MODELS, [])
    with view.shown():
        view.step(rows[0], None)
        view.step(rows[0], Record("a", "accuracy", metrics={"box_ap": 0.374}))
    assert console.file.getvalue() == "bench: [1/3] a: ok box_ap 0.374 in 0:00\n"


@pytest.mark.parametrize("words", [["sweep", "inference"], ["sweep", "inference", "no_such_model*"]])
def test_an_empty_selection_is_misuse(words, capsys):
    assert main.main(words) == 2
    assert capsys.readouterr().err.count("\n") == 1
