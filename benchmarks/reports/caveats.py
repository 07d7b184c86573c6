"""What a reader must know before quoting a measurement: few samples, one run, a busy machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.results.record import Record
from benchmarks.system.other_work import too_much

FEW = 30
BUSY = 0.5
"""Load per core before a measurement, above which its machine may have been busy with something else."""

SAMPLES = ("latency_s", "iteration_s")


def caveats(record: Record) -> str:
    """The reservations about a record's speed, in a phrase; empty where there are none."""
    result = [few(record), one_run(record), busy(record)]
    return ", ".join(text for text in result if text)


def few(record: Record) -> str | None:
    """Fewer samples than a stable median needs; records are often read without their samples."""
    counts = [len(record.samples[name]) for name in SAMPLES if record.samples.get(name)]
    count = counts[0] if counts else record.metrics.get("iterations") or record.metrics.get("samples")
    return f"only {int(count)} samples" if count is not None and count < FEW else None


def one_run(record: Record) -> str | None:
    """Not repeated: another process, another day may differ by more than the interval says."""
    return "one run" if record.parameters.get("repeat", 1) == 1 else None


def busy(record: Record) -> str | None:
    """What other work took while it ran; in records that do not have this, the load before it began."""
    if (others := record.conditions.get("others")) is not None:
        return too_much(others)
    before: Mapping[str, Any] = record.conditions.get("before") or {}
    load, cores = before.get("load_1min"), (record.environment.get("host") or {}).get("usable_cores")
    if load is None or not cores or load <= BUSY * cores:
        return None
    return f"busy machine (load {load:.1f} on {cores} cores)"
