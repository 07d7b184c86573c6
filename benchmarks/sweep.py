"""One benchmark over many models: every row ends as ok, failed or skipped, and a killed sweep goes on where it was.

A row is done when its record is in the store; nothing else is remembered. So the same command, given again, runs the
rows that are missing, whatever happened to the first one.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from benchmarks import row as one
from benchmarks.record import Record, failed
from benchmarks.results import Store
from benchmarks.row import Limits, Row
from zoo.errors import UsageError, ZooError

# Kinds whose numbers are times: never two at once on one device.
TIMED = ("inference", "training", "compare")
# How many models ahead of the running one are fetched.
AHEAD = 2

Runner = Callable[[Row, Limits], Record]
Executor = Callable[[Sequence[Row], Limits], Iterator[tuple[Row, Record]]]


@dataclass(frozen=True)
class Progress:
    """Where a sweep stands: rows by how they ended, and those to come."""

    rows: Sequence[Row]
    done: Mapping[str, Record]

    def pending(self, retry_failed: bool) -> list[Row]:
        """Rows without a record; with `retry_failed` also those whose record is a failure."""
        return [
            row
            for row in self.rows
            if row.model not in self.done or (retry_failed and self.done[row.model].status == "failed")
        ]


def plan(kind: str, models: Sequence[str], options: Sequence[str]) -> list[Row]:
    """The rows of a sweep. Its name is a digest of what is swept, so that the same command finds its records."""
    words = json.dumps([kind, list(options)])
    name = f"{kind}-{sha256(words.encode()).hexdigest()[:12]}"
    return [Row(name, kind, model, tuple(options)) for model in models]


def progress(rows: Sequence[Row], store: Store) -> Progress:
    """What of a sweep is in the store."""
    if not rows:
        return Progress(rows, {})
    names, done = {row.model for row in rows}, {}
    for record in store.stream(samples=False, sweep=rows[0].sweep):
        if record.parameters.get("row") in names:
            done[record.parameters["row"]] = record
    return Progress(rows, done)


def run(
    rows: Sequence[Row], store: Store, executor: Executor, limits: Limits, retry_failed: bool = False
) -> Iterator[tuple[Row, Record]]:
    """Run what is missing; each record is in the store before it is yielded."""
    pending = progress(rows, store).pending(retry_failed)
    for row, record in executor(pending, limits):
        store.append(record)
        yield row, record


def local(jobs: int = 1, device: str = "cpu", fetch: bool = True, runner: Runner = one.run) -> Executor:
    """Rows in processes of this machine, `jobs` at a time. Raises UsageError for timed rows side by side."""

    def execute(rows: Sequence[Row], limits: Limits) -> Iterator[tuple[Row, Record]]:
        if jobs > 1 and rows and rows[0].kind in TIMED:
            raise UsageError(f"--jobs {jobs}: two timed runs on one device disturb each other; {rows[0].kind} takes 1.")
        if rows and rows[0].kind in TIMED:
            with only_one(device):
                yield from pooled(rows, limits, jobs, fetch, runner)
        else:
            yield from pooled(rows, limits, jobs, fetch, runner)

    return execute


def pooled(rows: Sequence[Row], limits: Limits, jobs: int, fetch: bool, runner: Runner) -> Iterator[tuple[Row, Record]]:
    """Rows as they end. While some run, the files of the next ones are fetched."""
    with ThreadPoolExecutor(jobs) as workers, ThreadPoolExecutor(1) as fetcher:
        waiting, running = list(rows), dict[Any, Row]()
        for row in waiting[:AHEAD] if fetch else ():
            fetcher.submit(fetch_quietly, row.model)
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    row = waiting.pop(0)
                    running[workers.submit(guarded, runner, row, limits)] = row
                    if fetch and len(waiting) >= AHEAD:
                        fetcher.submit(fetch_quietly, waiting[AHEAD - 1].model)
                yield from collect(running)
        finally:
            for future in running:
                future.cancel()
            fetcher.shutdown(wait=False, cancel_futures=True)


def collect(running: dict[Future[Record], Row]) -> Iterator[tuple[Row, Record]]:
    """Wait until at least one row has ended."""
    done, _ = wait(running, return_when=FIRST_COMPLETED)
    for future in done:
        yield running.pop(future), future.result()


def guarded(runner: Runner, row: Row, limits: Limits) -> Record:
    """The row's record, whatever happens: an error of the sweep's own (a full disk, say) costs one row."""
    try:
        return runner(row, limits)
    except (OSError, ZooError) as error:
        return one.mark(failed(row.model, row.kind, error), row)


def fetch_quietly(model: str) -> None:
    """Get a model's file into the cache; if that fails, the row will say so."""
    import zoo

    with suppress(ZooError, OSError):
        zoo.fetch(model)


@contextmanager
def only_one(device: str) -> Iterator[None]:
    """Nobody else of this user times anything on this device meanwhile. Raises UsageError if somebody does."""
    from zoo.paths import cache_dir

    path = Path(cache_dir()) / f"timing-{device.replace(':', '-')}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(f"another sweep is timing on {device}; wait for it, or use another device.") from None
        file.write(str(os.getpid()))
        file.flush()
        yield


def counts(records: Iterable[Record]) -> dict[str, Any]:
    """How many rows ended how."""
    found = {"ok": 0, "failed": 0, "skipped": 0}
    for record in records:
        found[record.status] += 1
    return found
