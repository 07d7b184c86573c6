"""How much of this machine's processor time other work took while something was measured.

That is the time during which the cores were busy, from /proc/stat (what the hypervisor gave to others counts), less
what this process and its descendants used, from /proc/PID/stat (Linux; proc(5)).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SHARE = 0.03
"""Of the cores, which other work may take before a measurement is disturbed."""

PROC = Path("/proc")
IDLE = (3, 4)  # of the columns user, nice, system, idle, iowait, irq, softirq, steal
COLUMNS = 8
PARENT, TIMES = 1, slice(11, 15)  # of the columns after a process's name; its times and those of children that ended


@dataclass
class Load:
    """others: share of all cores that other work took, None where it is unknown."""

    others: float | None = None


@contextmanager
def observed() -> Iterator[Load]:
    """The load by others while the block runs."""
    load, start, busy, own = Load(), time.monotonic(), busy_seconds(), own_seconds()
    yield load
    seconds, after = time.monotonic() - start, busy_seconds()
    if busy is not None and after is not None and seconds > 0:
        load.others = max(0.0, after - busy - (own_seconds() - own)) / (seconds * (os.cpu_count() or 1))


def too_much(others: float | None) -> str | None:
    """The sentence about a share that disturbs a measurement; None for one that does not, or is unknown."""
    return None if others is None or others <= SHARE else f"other processes took {others:.0%} of the cores"


def busy_seconds() -> float | None:
    """Of all cores together since the system began, not idle."""
    try:
        columns = (PROC / "stat").read_text().split("\n", 1)[0].split()[1 : 1 + COLUMNS]
    except OSError:
        return None
    return summed([value for i, value in enumerate(columns) if i not in IDLE])


def own_seconds() -> float:
    """Of processor time that this process and its descendants used, those that ended included."""
    columns = dict(processes())
    own = {os.getpid()}
    while children := {pid for pid, row in columns.items() if int(row[PARENT]) in own} - own:
        own |= children
    return sum(summed(columns[pid][TIMES]) for pid in own if pid in columns)


def processes() -> Iterator[tuple[int, list[str]]]:
    """Each process with the columns of its statistics that follow its name."""
    for folder in PROC.iterdir() if PROC.is_dir() else ():
        if folder.name.isdigit():
            try:
                text = (folder / "stat").read_text()
            except OSError:
                continue  # it has ended
            yield int(folder.name), text.rpartition(")")[2].split()


def summed(ticks: list[str]) -> float:
    """The sum of times in clock ticks."""
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
