"""One benchmark over many models: every job ends as ok, failed or skipped, and a killed sweep goes on where it was.

A job is done when its record is in the store; nothing else is remembered. So the same command, given again, runs the
jobs that are missing, whatever happened to the first one.
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
# A job with its record when it ends, and with None when it begins, where that is known.
Steps = Iterator[tuple[Job, Record | None]]
Executor = Callable[[Sequence[Job], Limits], Steps]


@dataclass(frozen=True)
class Progress:
    """Where a sweep stands: jobs by how they ended, and those to come."""

    jobs: Sequence[Job]
    done: Mapping[str, Record]

    def pending(self, retry_failed: bool) -> list[Job]:
        """Jobs without a record and jobs that were skipped; with `retry_failed` also those that failed."""
        again = ("skipped", "failed") if retry_failed else ("skipped",)
        return [job for job in self.jobs if job.model not in self.done or self.done[job.model].status in again]


def plan(kind: str, models: Sequence[str], options: Sequence[str]) -> list[Job]:
    """The jobs of a sweep. Its name is a digest of what is swept, so that the same command finds its records."""
    words = json.dumps([kind, list(options)])
    name = f"{kind}-{sha256(words.encode()).hexdigest()[:12]}"
    return [Job(name, kind, model, tuple(options)) for model in models]


def progress(jobs: Sequence[Job], store: Store) -> Progress:
    """What of a sweep is in the store."""
    if not jobs:
        return Progress(jobs, {})
    names, done = {job.model for job in jobs}, {}
    for record in store.stream(samples=False, sweep=jobs[0].sweep):
        if (model := model_of(record)) in names:
            done[model] = record
    return Progress(jobs, done)


def run(
    jobs: Sequence[Job],
    store: Store,
    executor: Executor,
    limits: Limits,
    retry_failed: bool = False,
    skip: Callable[[Job], str | None] = lambda job: None,
) -> Steps:
    """Run what is missing; each record is in the store before it is yielded.

    skip: why a job is not tried. While the store's disk is full, records wait in memory; if it still is at the end,
    ResultsError says so, and their jobs run again with the next command.
    """
    result = progress(jobs, store)
    store.extend([])  # a store that cannot be written is noticed before the work
    runnable: list[Job] = []
    for job in result.pending(retry_failed):
        why = skip(job)
        if why is None:
            runnable.append(job)
        elif not same_skip(result.done.get(job.model), why):
            yield job, store.append(one.mark(skipped(job.model, job.kind, why), job))
    waiting: list[Record] = []
    for job, record in executor(runnable, limits):
        if record is not None:
            waiting = save(store, [*waiting, record])
        yield job, record
    if waiting:
        store.extend(waiting)


def model_of(record: Record) -> str | None:
    """The model whose job a record ended; records of earlier versions say "row"."""
    return record.parameters.get("job") or record.parameters.get("row")


def same_skip(record: Record | None, why: str) -> bool:
    """Whether a job was skipped before, for the same reason."""
    return record is not None and record.status == "skipped" and record.reason == why


def save(store: Store, records: list[Record]) -> list[Record]:
    """Add records; returns those that could not be, to be tried again."""
    try:
        store.extend(records)
    except ResultsError:
        return records
    return []


def local(at_once: int = 1, fetch: bool = True, runner: Runner | None = None) -> Executor:
    """Jobs in processes of this machine, `at_once` at a time. Raises UsageError for timed jobs side by side."""

    def execute(jobs: Sequence[Job], limits: Limits) -> Steps:
        if at_once > 1 and jobs and jobs[0].kind in TIMED:
            raise UsageError(
                f"--jobs {at_once}: two timed runs on one device disturb each other; {jobs[0].kind} takes 1."
            )
        stop = threading.Event()
        ahead = prefetcher(jobs) if fetch else queue.SimpleQueue()
        try:
            yield from pooled(jobs, limits, at_once, ahead, runner or partial(one.guarded, stop=stop))
        finally:
            stop.set()
            ahead.put(None)

    return execute


def pooled(jobs: Sequence[Job], limits: Limits, at_once: int, ahead: queue.SimpleQueue[Any], runner: Runner) -> Steps:
    """Jobs as they begin and end. While some run, the files of the next ones are fetched."""
    workers = ThreadPoolExecutor(at_once)
    waiting, running = list(jobs), dict[Future[Record], Job]()
    for job in waiting[:AHEAD]:
        ahead.put(job.model)
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                job = waiting.pop(0)
                running[workers.submit(runner, job, limits)] = job
                if len(waiting) >= AHEAD:
                    ahead.put(waiting[AHEAD - 1].model)
                yield job, None
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield running.pop(future), future.result()
    finally:
        workers.shutdown(wait=False, cancel_futures=True)


def prefetcher(jobs: Sequence[Job]) -> queue.SimpleQueue[Any]:
    """Names that are put in are fetched, one after the other; None is the end.

    In a thread that does not keep the program from ending: what it has got of a file is there the next time.
    """
    names: queue.SimpleQueue[Any] = queue.SimpleQueue()
    if jobs and skip_reasons.needs_weights(jobs[0]):
        threading.Thread(target=fetch_all, args=(names,), daemon=True).start()
    return names


def fetch_all(names: queue.SimpleQueue[Any]) -> None:
    """Fetch what is put in, until None is."""
    for name in iter(names.get, None):
        fetch_quietly(name)


def fetch_quietly(model: str) -> None:
    """Get a model's file into the cache; if that fails, the job will say so."""
    import zoo

    with suppress(ZooError, OSError):
        zoo.fetch(model)


def counts(records: Iterable[Record]) -> dict[str, Any]:
    """How many jobs ended how."""
    result = {"ok": 0, "failed": 0, "skipped": 0}
    for record in records:
        result[record.status] += 1
    return result
