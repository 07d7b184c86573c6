"""Other work is what the cores did less what a process and its descendants did."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

import pytest

from benchmarks.system import other_work
from benchmarks.system.other_work import too_much

BURN = "import time; [0 for _ in iter(lambda: time.process_time() < 0.3, False)]"
needs_proc = pytest.mark.skipif(not Path("/proc/stat").exists(), reason="this system has no /proc/stat")


def test_own_work_does_not_count_as_others(monkeypatch: pytest.MonkeyPatch) -> None:
    used = {"busy": iter([10.0, 14.0]), "own": iter([1.0, 5.0])}
    monkeypatch.setattr(other_work, "busy_seconds", lambda: next(used["busy"]))
    monkeypatch.setattr(other_work, "own_seconds", lambda: next(used["own"]))
    with other_work.observed() as load:
        pass
    assert load.others == 0.0


def test_where_the_system_does_not_tell_it_is_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(other_work, "PROC", tmp_path / "absent")
    with other_work.observed() as load:
        pass
    assert load.others is None and other_work.own_seconds() == 0.0


@needs_proc
def test_children_that_run_and_children_that_ended_are_own_work() -> None:
    before = other_work.own_seconds()
    with subprocess.Popen(
        [sys.executable, "-c", f"{BURN}; print(flush=True); input()"], stdin=PIPE, stdout=PIPE
    ) as child:
        assert child.stdout is not None and child.stdin is not None
        child.stdout.readline()
        running = other_work.own_seconds()
        child.communicate(b"\n")
    assert running - before > 0.25 and other_work.own_seconds() - before > 0.25


@needs_proc
def test_a_process_that_is_no_child_is_other_work(tmp_path: Path) -> None:
    done = tmp_path / "done"
    script = f"{BURN}; open({str(done)!r}, 'w').close()"
    with other_work.observed() as load:
        subprocess.run(["sh", "-c", '"$0" -c "$1" &', sys.executable, script], check=True)  # its parent ends at once
        while not done.exists():
            pass
    assert load.others is not None and load.others > 0


def test_a_share_is_worth_a_sentence_above_three_percent() -> None:
    assert too_much(0.2) == "other processes took 20% of the cores"
    assert too_much(0.03) is None and too_much(None) is None
