"""Whether something else took this machine's time while a job was timed. Such a job is void, and runs again.

On a CPU: the share of all cores that was busy with other work, from /proc/stat (what the hypervisor gave to others
counts), less what the job's own processes used. On a GPU: reasons of the driver for holding its clocks down.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.results.record import Record

SHARE = 0.03
"""Of the cores, which other work may take."""

CLOCK = 0.9
"""Share of its clock before that a processor must still have afterwards."""

STAT = Path("/proc/stat")
IDLE = (3, 4)  # of the columns user, nice, system, idle, iowait, irq, softirq, steal
COLUMNS = 8
# What slows a GPU down beside a limit that belongs to it, such as its power.
SLOWDOWNS = ("thermal", "slowdown", "brake")


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


def busy_seconds() -> float | None:
    """Of all cores together since the system began, not idle (Linux)."""
    try:
        columns = STAT.read_text().split("\n", 1)[0].split()[1 : 1 + COLUMNS]
    except OSError:
        return None
    ticks = sum(int(value) for i, value in enumerate(columns) if i not in IDLE)
    return ticks / os.sysconf("SC_CLK_TCK")


def own_seconds() -> float:
    """Of processor time that this process and its children that have ended used."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def reason(record: Record, load: Load) -> str | None:
    """Why a timed record is void; None where nothing speaks against it."""
    if load.others is not None and load.others > SHARE:
        return f"other processes took {load.others:.0%} of the cores"
    before, after = (record.conditions.get(when) or {} for when in ("before", "after"))
    for name in ("sm_mhz",) if "sm_mhz" in after else ("cpu_mhz",):
        first, last = before.get(name), after.get(name)
        if first and last and last < CLOCK * first:
            return f"the clock fell from {first:.0f} to {last:.0f} MHz"
    slow = [why for why in after.get("throttle_reasons") or [] if any(word in why.lower() for word in SLOWDOWNS)]
    return f"the GPU was slowed down: {', '.join(slow)}" if slow else None
