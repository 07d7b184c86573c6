"""One row of a sweep: one benchmark of one model in a process of its own, that can only cost this row."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.record import Record, failed
from benchmarks.results import Store

MIB = 2**20
POLL_SECONDS = 0.2
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Row:
    """What to run: `bench KIND MODEL OPTIONS`. sweep: which sweep it belongs to."""

    sweep: str
    kind: str
    model: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Limits:
    """seconds: of wall time. memory_mib: resident size of the process and its children; None for no limit."""

    seconds: float = 3600.0
    memory_mib: float | None = None


def run(row: Row, limits: Limits) -> Record:
    """The row's record; a crash, a hang or too much memory is a failed one that says so."""
    with tempfile.TemporaryDirectory(prefix="bench-sweep-") as folder:
        store, log = Path(folder) / "results.db", Path(folder) / "stderr"
        status = execute(command(row, store), log, limits)
        found = Store(store).select(model=None) if store.exists() else []
        tail = last_line(log)
    if found and (status == "" or not found[-1].ok):
        return mark(found[-1], row)
    reason = status or f"ended without a record: {tail or 'no message'}"
    return mark(failed(row.model, row.kind, reason if not tail or tail in reason else f"{reason}; {tail}"), row)


def mark(record: Record, row: Row) -> Record:
    """The record with what the sweep needs to find it again."""
    return replace(record, parameters={**record.parameters, "sweep": row.sweep, "row": row.model})


def command(row: Row, store: Path) -> list[str]:
    """What is executed."""
    return [sys.executable, "-m", "benchmarks", row.kind, row.model, *row.options, "--results", str(store)]


def execute(words: Sequence[str], log: Path, limits: Limits) -> str:
    """Run a command within limits. Returns why it did not end well, or nothing."""
    with log.open("wb") as errors:
        process = subprocess.Popen(
            words, stdout=subprocess.DEVNULL, stderr=errors, stdin=subprocess.DEVNULL, preexec_fn=own_group
        )
        try:
            return watch(process, limits)
        finally:
            end(process)


def own_group() -> None:
    """A process group of its own, that dies with whoever started it (Linux)."""
    os.setsid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def watch(process: subprocess.Popen[bytes], limits: Limits) -> str:
    """Wait for a process, and kill it when it is over a limit."""
    deadline = time.monotonic() + limits.seconds
    while process.poll() is None:
        if time.monotonic() > deadline:
            return f"stopped after {limits.seconds:g} s"
        if limits.memory_mib is not None and (used := group_mib(process.pid)) > limits.memory_mib:
            return f"stopped at {used:.0f} MiB, the limit is {limits.memory_mib:g}"
        time.sleep(POLL_SECONDS)
    return explain(process.returncode)


def explain(code: int) -> str:
    """An exit status in words; nothing for success."""
    if code == 0:
        return ""
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of a process group."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def group_mib(leader: int) -> float:
    """Resident size of a process group (Linux; 0 elsewhere)."""
    page, total = os.sysconf("SC_PAGE_SIZE"), 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        if int(fields[2]) == leader:
            total += int(fields[21]) * page
    return total / MIB


def last_line(log: Path) -> str:
    """The last thing that was said."""
    lines = log.read_text(errors="replace").replace("\r", "\n").split("\n") if log.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "")[:500]
