"""Sweeps: one row costs one row, and a killed sweep goes on where it was."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import cli, row, sweep
from benchmarks.record import Record, failed
from benchmarks.results import Store
from benchmarks.row import Limits, Row
from zoo.errors import UsageError

LIMITS = Limits(seconds=30)
MODELS = ["a", "b", "c"]


def runner(**endings):
    """A runner that fails for some models, and remembers what it ran."""

    def run(r: Row, limits: Limits) -> Record:
        run.seen.append(r.model)
        if endings.get(r.model):
            return row.mark(failed(r.model, r.kind, endings[r.model]), r)
        return row.mark(Record(r.model, r.kind, metrics={"fps": 1.0}), r)

    run.seen = []
    return run


def go(store: Store, run, rows, **options):
    return list(sweep.run(rows, store, sweep.local(fetch=False, runner=run), LIMITS, **options))


def test_every_row_ends_and_a_failure_costs_one(tmp_path):
    store, rows = Store(tmp_path / "r.db"), sweep.plan("accuracy", MODELS, [])
    ended = {r.model: record.status for r, record in go(store, runner(b="out of memory"), rows)}
    assert ended == {"a": "ok", "b": "failed", "c": "ok"}


def test_the_same_command_runs_only_what_is_missing(tmp_path):
    store, rows = Store(tmp_path / "r.db"), sweep.plan("accuracy", MODELS, [])
    first = runner()
    steps = sweep.run(rows, store, sweep.local(fetch=False, runner=first), LIMITS)
    next(steps)
    steps.close()  # the sweep dies behind its first row
    second = runner(c="crash")
    go(store, second, rows)
    assert "a" not in second.seen and "c" in second.seen
    third = runner()
    go(store, third, rows, retry_failed=True)
    assert third.seen == ["c"]


def test_another_command_is_another_sweep(tmp_path):
    store = Store(tmp_path / "r.db")
    go(store, runner(), sweep.plan("accuracy", MODELS, ["--limit", "5"]))
    assert len(sweep.progress(sweep.plan("accuracy", MODELS, []), store).pending(False)) == 3


def test_an_error_of_the_sweep_itself_costs_one_row(tmp_path):
    def full(r: Row, limits: Limits) -> Record:
        raise OSError(28, "No space left on device")

    store, rows = Store(tmp_path / "r.db"), sweep.plan("accuracy", ["a", "b"], [])
    assert [record.status for _, record in go(store, full, rows)] == ["failed", "failed"]


def test_timed_rows_never_run_side_by_side():
    with pytest.raises(UsageError, match="disturb"):
        list(sweep.local(jobs=2)(sweep.plan("inference", MODELS, []), LIMITS))


def test_two_sweeps_do_not_time_on_one_device(monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    other_device, same_device = sweep.only_one("cuda:1"), sweep.only_one("cuda:0")
    with sweep.only_one("cuda:0"), other_device, pytest.raises(UsageError, match="another sweep"):
        same_device.__enter__()


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
    assert row.execute(python(text), tmp_path / "log", LIMITS) == reason


def test_a_hang_is_stopped(tmp_path):
    assert "stopped after" in row.execute(python("import time; time.sleep(60)"), tmp_path / "log", Limits(0.5))


@pytest.mark.skipif(sys.platform != "linux", reason="resident sizes are read from /proc")
def test_too_much_memory_is_stopped(tmp_path):
    text = "import time; x = bytearray(300 * 2**20); time.sleep(60)"
    assert "the limit is 150" in row.execute(python(text), tmp_path / "log", Limits(60, memory_mib=150))


def test_a_row_without_a_record_is_failed_with_what_was_said():
    record = row.run(Row("s", "inference", "no_such_model"), LIMITS)
    assert record.status == "failed" and "no model" in record.reason
    assert record.parameters == {"sweep": "s", "row": "no_such_model"}


KILLED = """
import sys, time
from benchmarks import row, sweep
from benchmarks.record import Record
from benchmarks.results import Store
def run(r, limits):
    time.sleep(0.3)
    return row.mark(Record(r.model, r.kind, metrics={"fps": 1.0}), r)
rows = sweep.plan("accuracy", [str(i) for i in range(8)], [])
for r, record in sweep.run(rows, Store(sys.argv[1]), sweep.local(fetch=False, runner=run), row.Limits()):
    print(r.model, flush=True)
"""


def test_a_sweep_killed_at_any_time_resumes_exactly(tmp_path):
    file = tmp_path / "r.db"
    words = [sys.executable, "-c", KILLED, str(file)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = [r.model for r in Store(file).select()]
    assert 1 <= len(done) < 8
    again = subprocess.run(words, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert again.stdout.split() == [str(i) for i in range(8) if str(i) not in done]
    assert sorted(r.model for r in Store(file).select()) == [str(i) for i in range(8)]


def test_dry_run_says_what_would_run_and_runs_nothing(tmp_path, capsys):
    store = tmp_path / "r.db"
    assert cli.main(["sweep", "inference", "yolox_s*", "--dry-run", "--json", "--results", str(store)]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [r["result"] for r in rows] == ["to run"] and not store.exists()


@pytest.mark.parametrize("words", [["sweep", "inference"], ["sweep", "inference", "no_such_model*"]])
def test_an_empty_selection_is_misuse(words, capsys):
    assert cli.main(words) == 2
    assert capsys.readouterr().err.count("\n") == 1
