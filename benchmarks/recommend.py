"""Which model to take: the Pareto-best ones under constraints.

A model is Pareto-best if no other one is at least as accurate, as fast and as small, and better in one of the three.
Measured numbers come first, published ones, marked as such, second; numbers of different hardware are never compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.record import Record

if TYPE_CHECKING:
    from zoo.manifest import Entry

METRIC_OF_TASK = {
    "object detection": "box_ap",
    "instance segmentation": "mask_ap",
    "panoptic segmentation": "pq",
    "region proposal": "ar_1000",
}


@dataclass(frozen=True)
class Candidate:
    """One model with the numbers that count.

    ap: published, in percent, or measured. latency_ms: of one picture. memory_mib: at inference, None where unknown.
    source: "measured" or "published". hardware: that the latency belongs to.
    """

    model: str
    ap: float
    latency_ms: float | None
    memory_mib: float | None
    source: str
    hardware: str
    reason: str = ""


@dataclass(frozen=True)
class Wish:
    """Constraints; None for no limit. latency_ms and memory_mib are upper limits."""

    metric: str = "box_ap"
    min_ap: float | None = None
    latency_ms: float | None = None
    memory_mib: float | None = None


def recommend(candidates: Sequence[Candidate], wish: Wish) -> list[Candidate]:
    """The Pareto-best candidates that meet the wish, most accurate first, each with the reason."""
    possible = [c for c in candidates if meets(c, wish)]
    best = [c for c in possible if not any(beats(other, c) for other in possible)]
    ordered = sorted(best, key=lambda c: (-c.ap, c.latency_ms or 0.0, c.model))
    return [explain(c, place, ordered) for place, c in enumerate(ordered)]


def meets(c: Candidate, wish: Wish) -> bool:
    """Whether a candidate is within all limits; an unknown number is not within one."""
    limits = ((c.latency_ms, wish.latency_ms), (c.memory_mib, wish.memory_mib))
    within = all(limit is None or (value is not None and value <= limit) for value, limit in limits)
    return within and (wish.min_ap is None or c.ap >= wish.min_ap)


def beats(a: Candidate, b: Candidate) -> bool:
    """Whether `a` is nowhere worse than `b` and somewhere better. Unknown numbers are not compared."""
    pairs = [(a.ap, b.ap)]
    pairs += [(-x, -y) for x, y in ((a.latency_ms, b.latency_ms), (a.memory_mib, b.memory_mib)) if x and y]
    known = all((x is None) == (y is None) for x, y in ((a.latency_ms, b.latency_ms), (a.memory_mib, b.memory_mib)))
    return known and all(x >= y for x, y in pairs) and any(x > y for x, y in pairs)


def explain(c: Candidate, place: int, ordered: Sequence[Candidate]) -> Candidate:
    """The candidate with the sentence that says why it is there."""
    if place == 0:
        text = "the most accurate within the limits"
    else:
        above = ordered[place - 1]
        text = f"{above.ap - c.ap:.1f} points below {above.model}"
        if c.latency_ms and above.latency_ms and c.latency_ms < above.latency_ms:
            text += f", {above.latency_ms / c.latency_ms:.2f} times as fast"
        if c.memory_mib and above.memory_mib and c.memory_mib < above.memory_mib:
            text += f", {above.memory_mib / c.memory_mib:.2f} times smaller in memory"
    return Candidate(**{**vars(c), "reason": text})


def measured(
    records: Sequence[Record], entries: Mapping[str, Entry], metric: str, device: str | None = None
) -> list[Candidate]:
    """Candidates from inference records, with measured accuracy where there is a record of it.

    device: only records of a device whose name contains this.
    """
    accuracy = {r.model: r for r in records if r.ok and r.kind == "accuracy"}
    found = {}
    for r in sorted((r for r in records if r.ok and r.kind == "inference"), key=lambda r: r.time):
        ap, hardware = best_ap(r.model, accuracy, entries, metric), str(r.environment.get("device", ""))
        if ap is None or (device and device.lower() not in hardware.lower()):
            continue
        memory = r.metrics.get("cuda_allocated_mib") or r.metrics.get("resident_peak_mib")
        found[r.model] = Candidate(r.model, ap, r.metrics.get("latency_ms_p50"), memory, "measured", hardware)
    return list(found.values())


def best_ap(model: str, accuracy: Mapping[str, Record], entries: Mapping[str, Entry], metric: str) -> float | None:
    """A model's accuracy in percent: measured here, else published."""
    if model in accuracy and metric in accuracy[model].metrics:
        return 100 * accuracy[model].metrics[metric]
    return entries[model].metric(metric) if model in entries else None


def published(entries: Mapping[str, Entry], metric: str, hardware: str | None = None) -> list[Candidate]:
    """Candidates from published numbers, single pictures in float32. hardware: such as V100."""
    found = []
    for entry in entries.values():
        ap = entry.metric(metric)
        for speed in entry.speed:
            fits = speed.batch == 1 and (hardware is None or hardware.lower() in (speed.hardware or "").lower())
            if ap is not None and speed.fps and fits:
                found.append(
                    Candidate(entry.name, ap, 1000 / speed.fps, None, "published", speed.hardware or "unknown")
                )
    return found
