"""Whether something else took this machine's time while a job was timed. Such a job is void, and runs again.

On a CPU: the share of all cores that other work took. On a GPU: reasons of the driver for holding its clocks down.
"""

from __future__ import annotations

from benchmarks.results.record import Record
from benchmarks.system.other_work import Load, too_much

CLOCK = 0.9
"""Share of its clock before that a processor must still have afterwards."""

# What slows a GPU down beside a limit that belongs to it, such as its power.
SLOWDOWNS = ("thermal", "slowdown", "brake")


def reason(record: Record, load: Load) -> str | None:
    """Why a timed record is void; None where nothing speaks against it."""
    if taken := too_much(load.others):
        return taken
    before, after = (record.conditions.get(when) or {} for when in ("before", "after"))
    for name in ("sm_mhz",) if "sm_mhz" in after else ("cpu_mhz",):
        first, last = before.get(name), after.get(name)
        if first and last and last < CLOCK * first:
            return f"the clock fell from {first:.0f} to {last:.0f} MHz"
    slow = [why for why in after.get("throttle_reasons") or [] if any(word in why.lower() for word in SLOWDOWNS)]
    return f"the GPU was slowed down: {', '.join(slow)}" if slow else None
