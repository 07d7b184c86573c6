"""One benchmark over many models: every row ends as ok, failed or skipped, and a killed sweep goes on where it was.

A row is done when its record is in the store; nothing else is remembered. So the same command, given again, runs the
rows that are missing, whatever happened to the first one.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Any

from benchmarks.results.record import Record, ResultsError, skipped
from benchmarks.results.store import Store
from benchmarks.sweep import job as one
from benchmarks.sweep import skip_reasons
from benchmarks.sweep.job import TIMED, Job, Limits
from zoo.errors import UsageError, ZooError

# How many models ahead of the running ones are fetched.
AHEAD = 2

Runner = Callable[[Job, Limits], Record]
# A row with its record when it ends, and with None when it begins, where that is known.
Steps = Iterator[tuple[Job, Record | None]]
Executor = Callable[[Sequence[Job], Limits], Steps]


@dataclass(frozen=True)
class Progress:
    """Where a sweep stands: rows by how they ended, and those to come."""

    rows: Sequence[Job]
    done: Mapping[str, Record]

    def pending(self, retry_failed: bool) -> list[Job]:
        """Rows without a record and rows that were skipped; with `retry_failed` also those that failed."""
        again = ("skipped", "failed") if retry_failed else ("skipped",)
        return [row for row in self.rows if row.model not in self.done or self.done[row.model].status in again]


def plan(kind: str, models: Sequence[str], options: Sequence[str]) -> list[Job]:
    """The rows of a sweep. Its name is a digest of what is swept, so that the same command finds its records."""
    words = json.dumps([kind, list(options)])
    name = f"{kind}-{sha256(words.encode()).hexdigest()[:12]}"
    return [Job(name, kind, model, tuple(options)) for model in models]


def progress(rows: Sequence[Job], store: Store) -> Progress:
    """What of a sweep is in the store."""
    if not rows:
        return Progress(rows, {})
    names, done = {row.model for row in rows}, {}
    for record in store.stream(samples=False, sweep=rows[0].sweep):
        if record.parameters.get("row") in names:
            done[record.parameters["row"]] = record
    return Progress(rows, done)


def run(
    rows: Sequence[Job],
    store: Store,
    executor: Executor,
    limits: Limits,
    retry_failed: bool = False,
    skip: Callable[[Job], str | None] = lambda row: None,
) -> Steps:
    """Run what is missing; each record is in the store before it is yielded.

    skip: why a row is not tried. While the store's disk is full, records wait in memory; if it still is at the end,
    ResultsError says so, and their rows run again with the next command.
    """
    result = progress(rows, store)
    store.extend([])  # a store that cannot be written is noticed before the work
    runnable: list[Job] = []
    for row in result.pending(retry_failed):
        why = skip(row)
        if why is None:
            runnable.append(row)
        elif not same_skip(result.done.get(row.model), why):
            yield row, store.append(one.mark(skipped(row.model, row.kind, why), row))
    waiting: list[Record] = []
    for row, record in executor(runnable, limits):
        if record is not None:
            waiting = save(store, [*waiting, record])
        yield row, record
    if waiting:
        store.extend(waiting)


def same_skip(record: Record | None, why: str) -> bool:
    """Whether a row was skipped before, for the same reason."""
    return record is not None and record.status == "skipped" and record.reason == why


def save(store: Store, records: list[Record]) -> list[Record]:
    """Add records; returns those that could not be, to be tried again."""
    try:
        store.extend(records)
    except ResultsError:
        return records
    return []


def local(jobs: int = 1, fetch: bool = True, runner: Runner | None = None) -> Executor:
    """Rows in processes of this machine, `jobs` at a time. Raises UsageError for timed rows side by side."""

    def execute(rows: Sequence[Job], limits: Limits) -> Steps:
        if jobs > 1 and rows and rows[0].kind in TIMED:
            raise UsageError(f"--jobs {jobs}: two timed runs on one device disturb each other; {rows[0].kind} takes 1.")
        stop = threading.Event()
        ahead = prefetcher(rows) if fetch else queue.SimpleQueue()
        try:
            yield from pooled(rows, limits, jobs, ahead, runner or partial(one.guarded, stop=stop))
        finally:
            stop.set()
            ahead.put(None)

    return execute


def pooled(rows: Sequence[Job], limits: Limits, jobs: int, ahead: queue.SimpleQueue[Any], runner: Runner) -> Steps:
    """Rows as they begin and end. While some run, the files of the next ones are fetched."""
    workers = ThreadPoolExecutor(jobs)
    waiting, running = list(rows), dict[Future[Record], Job]()
    for row in waiting[:AHEAD]:
        ahead.put(row.model)
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                row = waiting.pop(0)
                running[workers.submit(runner, row, limits)] = row
                if len(waiting) >= AHEAD:
                    ahead.put(waiting[AHEAD - 1].model)
                yield row, None
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield running.pop(future), future.result()
    finally:
        workers.shutdown(wait=False, cancel_futures=True)


def prefetcher(rows: Sequence[Job]) -> queue.SimpleQueue[Any]:
    """Names that are put in are fetched, one after the other; None is the end.

    In a thread that does not keep the program from ending: what it has got of a file is there the next time.
    """
    names: queue.SimpleQueue[Any] = queue.SimpleQueue()
    if rows and skip_reasons.needs_weights(rows[0]):
        threading.Thread(target=fetch_all, args=(names,), daemon=True).start()
    return names


def fetch_all(names: queue.SimpleQueue[Any]) -> None:
    """Fetch what is put in, until None is."""
    for name in iter(names.get, None):
        fetch_quietly(name)


def fetch_quietly(model: str) -> None:
    """Get a model's file into the cache; if that fails, the row will say so."""
    import zoo

    with suppress(ZooError, OSError):
        zoo.fetch(model)


def counts(records: Iterable[Record]) -> dict[str, Any]:
    """How many rows ended how."""
    result = {"ok": 0, "failed": 0, "skipped": 0}
    for record in records:
        result[record.status] += 1
    return result
