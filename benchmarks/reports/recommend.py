"""Which model to take: the Pareto-best ones under constraints.

A model is Pareto-best if no other one is at least as accurate, as fast and as small, and better in one of the three.
Measured numbers come first, published ones, marked as such, second; numbers of different hardware are never compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchmarks.results.record import Record
from benchmarks.results.selection import accuracies, memory_mib, newest, percent

if TYPE_CHECKING:
    from zoo.manifest.api import Entry

# Task -> the metrics that datasets have for it, the usual one first.
METRICS_OF_TASK = {
    "object detection": ("box_ap", "map_50"),
    "instance segmentation": ("mask_ap",),
    "panoptic segmentation": ("pq",),
    "region proposal": ("ar_1000",),
}


@dataclass(frozen=True)
class Candidate:
    """One model with the numbers that count.

    ap: published, in percent, or measured. latency_ms: of one image. memory_mib: at inference, None where unknown.
    source: "measured" or "published". hardware: that the latency belongs to. remark: what a reader must know about the
    numbers. reason: why it is recommended.
    """

    model: str
    ap: float
    latency_ms: float | None
    memory_mib: float | None
    source: str
    hardware: str
    remark: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Constraints:
    """Constraints; None for no limit. latency_ms and memory_mib are upper limits."""

    metric: str = "box_ap"
    min_ap: float | None = None
    latency_ms: float | None = None
    memory_mib: float | None = None


def recommend(candidates: Sequence[Candidate], constraints: Constraints) -> list[Candidate]:
    """The Pareto-best candidates that meet the constraints, most accurate first, each with the reason."""
    possible = [c for c in candidates if meets(c, constraints)]
    best = [c for c in possible if not any(beats(other, c) for other in possible)]
    ordered = sorted(best, key=lambda c: (-c.ap, c.latency_ms or 0.0, c.model))
    return [explain(c, rank, ordered) for rank, c in enumerate(ordered)]


def meets(c: Candidate, constraints: Constraints) -> bool:
    """Whether a candidate is within all limits; an unknown number is not within one."""
    limits = ((c.latency_ms, constraints.latency_ms), (c.memory_mib, constraints.memory_mib))
    within = all(limit is None or (value is not None and value <= limit) for value, limit in limits)
    return within and (constraints.min_ap is None or c.ap >= constraints.min_ap)


def beats(a: Candidate, b: Candidate) -> bool:
    """Whether `a` is nowhere worse than `b` and somewhere better. Unknown numbers are not compared."""
    pairs = [(a.ap, b.ap)]
    pairs += [(-x, -y) for x, y in ((a.latency_ms, b.latency_ms), (a.memory_mib, b.memory_mib)) if x and y]
    known = all((x is None) == (y is None) for x, y in ((a.latency_ms, b.latency_ms), (a.memory_mib, b.memory_mib)))
    return known and all(x >= y for x, y in pairs) and any(x > y for x, y in pairs)


def explain(c: Candidate, rank: int, ordered: Sequence[Candidate]) -> Candidate:
    """The candidate with the sentence that says why it is there."""
    if rank == 0:
        text = "the most accurate within the limits"
    else:
        above = ordered[rank - 1]
        text = f"{above.ap - c.ap:.1f} points below {above.model}"
        if c.latency_ms and above.latency_ms and c.latency_ms < above.latency_ms:
            text += f", {above.latency_ms / c.latency_ms:.2f} times as fast"
        if c.memory_mib and above.memory_mib and c.memory_mib < above.memory_mib:
            text += f", {above.memory_mib / c.memory_mib:.2f} times smaller in memory"
    return replace(c, reason=text)


def obstacles(candidates: Sequence[Candidate], own: Constraints) -> str:
    """How many candidates are within each limit alone: why there may be none within all of them."""
    limits = {
        f"{own.min_ap:g} in {own.metric}" if own.min_ap is not None else "": Constraints(min_ap=own.min_ap),
        f"{own.latency_ms:g} ms" if own.latency_ms is not None else "": Constraints(latency_ms=own.latency_ms),
        f"{own.memory_mib:g} MiB" if own.memory_mib is not None else "": Constraints(memory_mib=own.memory_mib),
    }
    parts = [f"{sum(meets(c, alone) for c in candidates)} reach {text}" for text, alone in limits.items() if text]
    unknown = sum(c.memory_mib is None for c in candidates) if own.memory_mib is not None else 0
    parts += [f"of {unknown} the memory is not known (only measured models have it)"] if unknown else []
    return f"of {len(candidates)} candidates " + ", ".join(parts or ["none has the numbers"])


def metric_of(task: str, entries: Sequence[Entry]) -> str:
    """The metric of a task (a key of METRICS_OF_TASK) that these models have."""
    metrics = METRICS_OF_TASK[task]
    return next((m for m in metrics if any(entry.metric(m) is not None for entry in entries)), metrics[0])


def groups(
    entries: Sequence[Entry],
    records: Sequence[Record],
    metric: str,
    devices: Sequence[str] | None = None,
    hardware: str | None = None,
) -> list[list[Candidate]]:
    """Candidates that compare with each other: one group per hardware, the measured ones first.

    devices: only measurements on devices whose names contain one of these. hardware: only published numbers of it.
    """
    result: list[Candidate] = []
    if hardware is None:
        result += measured(records, entries, metric, devices)
    if devices is None:
        result += published(entries, metric, hardware)
    kinds = dict.fromkeys((c.source, c.hardware) for c in result)
    return [[c for c in result if (c.source, c.hardware) == kind] for kind in kinds]


def measured(
    records: Sequence[Record], entries: Sequence[Entry], metric: str, devices: Sequence[str] | None = None
) -> list[Candidate]:
    """Candidates from plain inference records, the newest of each model and device.

    Their accuracy is the measured one, where there is a record of it on the whole dataset, else the published one.
    """
    known, accuracy = {entry.name: entry for entry in entries}, accuracies(records, entries)
    by_device: dict[str, list[Record]] = {}
    for record in records:
        if record.kind == "inference" and record.model in known and is_one_of(device_of(record), devices):
            by_device.setdefault(device_of(record), []).append(record)
    return [
        candidate
        for group in by_device.values()
        for name, record in sorted(newest(group, "inference").items())
        if (candidate := from_record(record, known[name], accuracy.get(name), metric))
    ]


def from_record(speed: Record, entry: Entry, accuracy: Record | None, metric: str) -> Candidate | None:
    """The candidate of an inference record; None where no accuracy is known."""
    here = percent(accuracy, metric)
    ap = entry.metric(metric) if here is None else here
    if ap is None:
        return None
    fps = speed.metrics.get("fps")
    latency = speed.metrics.get("latency_ms_p50", 1000 / fps if fps else None)
    remarks = ["accuracy as published"] if here is None else []
    remarks += ["random weights"] if speed.parameters.get("weights") == "random" else []
    return Candidate(
        entry.name, ap, latency, memory_mib(speed), "measured", device_of(speed), remark=", ".join(remarks)
    )


def device_of(record: Record) -> str:
    """The name of the device that a record was measured on."""
    return str(record.environment.get("device", ""))


def is_one_of(device: str, names: Sequence[str] | None) -> bool:
    """Whether a device's name contains one of the names; None stands for any."""
    return names is None or any(name.lower() in device.lower() for name in names)


def published(entries: Sequence[Entry], metric: str, hardware: str | None = None) -> list[Candidate]:
    """Candidates from published numbers for single images. hardware: such as V100."""
    result = []
    for entry in entries:
        ap = entry.metric(metric)
        for speed in entry.speed:
            fits = hardware is None or hardware.lower() in (speed.hardware or "").lower()
            if ap is not None and speed.fps and speed.batch == 1 and fits:
                remark = "" if speed.precision in (None, "fp32") else speed.precision
                machine = speed.hardware or "unknown"
                result.append(Candidate(entry.name, ap, 1000 / speed.fps, None, "published", machine, remark))
    return result
