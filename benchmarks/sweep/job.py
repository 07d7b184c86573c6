"""One job of a sweep: one benchmark of one model in a process of its own, that can only cost this job."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.results.record import Record, failed, skipped, unmeasured
from benchmarks.results.store import Store
from benchmarks.sweep import disturbance
from benchmarks.system.other_work import observed
from zoo.errors import NO_NETWORK, ZooError
from zoo.manifest.api import manifest_options

# Kinds whose numbers are times: never two at once on one device.
TIMED = ("inference", "training", "compare")
ATTEMPTS = 3  # at a timed job, before it is given up as disturbed
MIB = 2**20
POLL_SECONDS = 0.2
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Job:
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


def guarded(job: Job, limits: Limits, stop: threading.Event | None = None) -> Record:
    """As `run`, whatever happens: an error outside the job's own process (a full disk, say) costs this job."""
    try:
        return run(job, limits, stop)
    except (OSError, ZooError) as error:
        return mark(unmeasured(job.model, job.kind, error), job)


def run(job: Job, limits: Limits, stop: threading.Event | None = None) -> Record:
    """The job's record; a crash, a hang or too much memory is a failed one that says so.

    stop: ends the job early when it is set. A timed job waits until its device is free; where something else took the
    machine's time meanwhile it is void and runs again, at last as a failed one that says so.
    """
    with turn(job, stop):
        for _ in range(ATTEMPTS):
            with observed() as load:
                record = once(job, limits, stop)
            why = disturbance.reason(record, load) if job.kind in TIMED and record.ok else None
            if why is None or (stop and stop.is_set()):
                return record
    return mark(failed(job.model, job.kind, f"void {ATTEMPTS} times: {why}"), job)


def once(job: Job, limits: Limits, stop: threading.Event | None = None) -> Record:
    """One attempt at the job."""
    with tempfile.TemporaryDirectory(prefix="bench-sweep-") as folder:
        store, log = Path(folder) / "results.db", Path(folder) / "stderr"
        status = execute(command(job, store), log, limits, stop)
        result = Store(store).select(model=None) if store.exists() else []
        tail = last_line(log)
    if result and (status == "" or not result[-1].ok):
        return mark(result[-1], job)
    if tail.removeprefix("bench: ").startswith(NO_NETWORK):
        return mark(skipped(job.model, job.kind, NO_NETWORK), job)
    reason = status or f"ended without a record: {tail or 'no message'}"
    return mark(failed(job.model, job.kind, reason if not tail or tail in reason else f"{reason}; {tail}"), job)


def mark(record: Record, job: Job) -> Record:
    """The record with what the sweep needs to find it again."""
    return replace(record, parameters={**record.parameters, "sweep": job.sweep, "job": job.model})


def command(job: Job, store: Path) -> list[str]:
    """What is executed. `-P`: a package `benchmarks` in the current folder is the user's own, and is not meant."""
    bench = [sys.executable, "-P", "-m", "benchmarks", *manifest_options()]
    return [*bench, job.kind, job.model, *job.options, "--results", str(store)]


@contextmanager
def turn(job: Job, stop: threading.Event | None = None) -> Iterator[None]:
    """A timed job's time alone on its device: no other one of this user, in whichever sweep, runs there meanwhile."""
    if job.kind not in TIMED:
        yield
        return
    path = Path(tempfile.gettempdir()) / f"bench-timing-{os.getuid()}-{physical(device_of(job))}.lock"
    with path.open("a") as file:
        while not (stop and stop.is_set()):
            with suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(POLL_SECONDS)
        yield


def device_of(job: Job) -> str:
    """The device that a job's options name."""
    given = [after for before, after in zip(job.options, job.options[1:]) if before == "--device"]
    return given[-1] if given else "cpu"


def physical(device: str) -> str:
    """A device's name whatever this process sees of the machine: a cluster shows each job its own GPU as the first."""
    kind, _, number = device.partition(":")
    if kind != "cuda":
        return kind
    visible = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    at = int(number or 0)
    return f"cuda-{visible[at] if at < len(visible) else at}"


def execute(words: Sequence[str], log: Path, limits: Limits, stop: threading.Event | None = None) -> str:
    """Run a command within limits. Returns why it did not end well, or nothing."""
    with log.open("wb") as errors:
        process = subprocess.Popen(
            words, stdout=subprocess.DEVNULL, stderr=errors, stdin=subprocess.DEVNULL, preexec_fn=own_group
        )
        try:
            return watch(process, limits, stop)
        finally:
            end(process)


def own_group() -> None:
    """A process group of its own, that dies with whoever started it (Linux)."""
    os.setsid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def watch(process: subprocess.Popen[bytes], limits: Limits, stop: threading.Event | None = None) -> str:
    """Wait for a process, until it is over a limit or shall stop."""
    deadline = time.monotonic() + limits.seconds
    while process.poll() is None:
        if stop is not None and stop.is_set():
            return "stopped with the sweep"
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
