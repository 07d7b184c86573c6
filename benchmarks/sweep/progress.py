"""What a sweep is doing: on a terminal a table that is drawn anew twice a second, elsewhere a line for each job."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from benchmarks.results.record import Record
from benchmarks.sweep.job import Job
from benchmarks.sweep.outcome import ending
from benchmarks.sweep.sweep import counts

SHOWN = 8  # jobs that have ended and are still shown


class View:
    """total: jobs of the sweep. before: those that had ended before it began, by model."""

    def __init__(self, total: int, before: Mapping[str, Record], console: Console | None = None) -> None:
        self.console = console or Console(file=sys.stderr)
        self.total, self.done = total, dict(before)
        self.running: dict[str, float] = {}
        self.ended: deque[tuple[str, float | None, Record]] = deque(maxlen=SHOWN)
        self.began, self.measured = time.monotonic(), 0

    @contextmanager
    def shown(self) -> Iterator[None]:
        """The table is on the terminal during the block."""
        if not self.console.is_terminal:
            yield
            return
        with Live(get_renderable=self.table, console=self.console, refresh_per_second=2, transient=True):
            yield

    def step(self, job: Job, record: Record | None) -> None:
        """A job has begun (None) or ended."""
        if record is None:
            self.running[job.model] = time.monotonic()
            return
        began = self.running.pop(job.model, None)
        self.done[job.model] = record
        self.measured += record.status != "skipped"
        self.ended.append((job.model, None if began is None else time.monotonic() - began, record))
        if not self.console.is_terminal:
            print(f"bench: [{len(self.done)}/{self.total}] {line(*self.ended[-1])}", file=self.console.file, flush=True)

    def table(self) -> Group:
        """How far the sweep is, the jobs that ended last, and those that run."""
        shown = Table(box=None, pad_edge=False)
        for name in ("model", "time", "result"):
            shown.add_column(name, overflow="ellipsis", no_wrap=True)
        for model, seconds, record in list(self.ended):
            shown.add_row(model, clock(seconds), Text(ending(record)), style=STYLES[record.status])
        for model, began in list(self.running.items()):
            shown.add_row(model, clock(time.monotonic() - began), "running")
        return Group(Text(self.summary()), shown)

    def summary(self) -> str:
        """How many jobs ended how, and how long the others will take."""
        ended = ", ".join(f"{count} {status}" for status, count in counts(self.done.values()).items())
        text = f"{len(self.done)} of {self.total}: {ended}, {len(self.running)} running"
        left = self.total - len(self.done)
        if left and self.measured:
            text += f", about {clock(left * (time.monotonic() - self.began) / self.measured)} left"
        return text


STYLES = {"ok": "green", "failed": "red", "skipped": "dim"}


def line(model: str, seconds: float | None, record: Record) -> str:
    """A job that has ended."""
    return f"{model}: {ending(record)}" + ("" if seconds is None else f" in {clock(seconds)}")


def clock(seconds: float | None) -> str:
    """Hours, minutes and seconds, as far as they are needed."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"
