"""What a measurement is compared with later: the part of a record that matters, in a file that is pleasant to commit.

A baseline is JSON: `schema`, `tolerances`, and one entry per model, kind, protocol and parameters, with metrics and,
for speeds, how long each call took in units of the calibration workload that ran beside it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.results import fingerprint, interval
from benchmarks.results.record import Record, rename
from benchmarks.results.sample_names import CPU_SAMPLES, SAMPLES
from benchmarks.results.tolerances import KINDS, Tolerances
from zoo.errors import UsageError
from zoo.system.atomic_write import atomic_write

SCHEMA = 2
# Parameters that say what was measured; the others say how long or where.
DECIDING = ("batch", "precision", "options", "resolution", "images", "weights", "dataset", "data", "protocol")
# Clock -> samples of calls and of the calibration.
CLOCKS = {"cpu": ("cpu_s", CPU_SAMPLES), "wall": ("latency_s", SAMPLES)}
# Metrics that must not change at all.
EXACT = ("parameters", "flops", "cuda_allocated_mib")
# So many relative times are kept, evenly chosen from the sorted ones: enough for a rank test, few enough to commit.
KEPT = 100
# Times of so many of the newest records of a measurement count: processes differ in more than the noise within one.
RUNS = 9
DIGITS = 5  # of replicates: a thousandth of a point


class BaselineError(UsageError):
    """A baseline file is missing or is not one: a check that cannot be made, which is not a regression."""


@dataclass(frozen=True)
class Entry:
    """One measurement to compare with.

    times: seconds of a call divided by those of the calibration beside it, sorted; empty for accuracies. clock: which
    seconds these are, "cpu" where one thread did all the work, else "wall".
    detections: in the first images, as `results.fingerprint` has them; None where the record has none.
    classes: measure -> class -> AP, where known. replicates: of each AP that has some, as `results.interval` pairs
    them, and bootstrap: what they were drawn from.
    machine: of the measurement, to know whether times are of the same one. runs: of how many records the times are.
    """

    model: str
    kind: str
    protocol: str
    parameters: Mapping[str, Any]
    metrics: Mapping[str, float]
    times: Sequence[float] = ()
    machine: str = ""
    detections: Sequence[float] | None = None
    clock: str = "wall"
    runs: int = 1
    replicates: Mapping[str, Sequence[float]] = field(default_factory=dict)
    bootstrap: Mapping[str, Any] | None = None
    classes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """What identifies the measurement: model, kind, protocol and the deciding parameters."""
        return json.dumps([self.model, self.kind, self.protocol, self.parameters], sort_keys=True)

    @property
    def comparable(self) -> bool:
        """Whether there is anything in it that a later record can be held to."""
        exact = any(name in self.metrics for name in EXACT)
        return bool(exact or self.times or self.detections or (self.kind == "accuracy" and self.metrics))

    @property
    def title(self) -> str:
        """For people."""
        return " ".join(filter(None, (self.model, self.kind, self.protocol)))


@dataclass(frozen=True)
class Baseline:
    """Entries and how much they may change. newest: ISO time of the newest record among them, "" where unknown."""

    entries: Sequence[Entry]
    tolerances: Tolerances = field(default_factory=Tolerances)
    newest: str = ""


def entry_of(record: Record) -> Entry:
    """The part of a record that is compared."""
    clock = clock_of(record.samples)
    return Entry(
        model=record.model,
        kind=record.kind,
        protocol=record.protocol,
        parameters={k: v for k, v in record.parameters.items() if k in DECIDING},
        metrics={k: v for k, v in record.metrics.items() if type(v) in (int, float) and is_compared(record.kind, k)},
        times=relative_times(record.samples, *CLOCKS[clock]),
        clock=clock,
        machine=machine_of(record),
        detections=record.samples.get(fingerprint.SAMPLES),
        replicates=replicates_of(record),
        bootstrap=record.parameters.get(interval.PARAMETER),
        classes=record.conditions.get(interval.CLASSES) or {},
    )


def replicates_of(record: Record) -> dict[str, list[float]]:
    """A record's replicates by metric, in the digits that a baseline keeps."""
    kept = {name: values for name, values in record.samples.items() if name.startswith(interval.SAMPLES)}
    return {name.removeprefix(interval.SAMPLES): shortened(values) for name, values in kept.items()}


def shortened(values: Iterable[float | None]) -> list[float]:
    """Numbers in DIGITS decimals; -1 stands for those that are not known, NaN or None."""
    return [-1.0 if value is None or value != value else round(value, DIGITS) for value in values]


def is_compared(kind: str, metric: str) -> bool:
    """Whether a metric of records of a kind is held to its baseline; others would only be noise in the file."""
    return kind == "accuracy" or metric in EXACT


def clock_of(samples: Mapping[str, Sequence[float]]) -> str:
    """Which of CLOCKS counts: CPU time where there is some, since it stands still while a neighbor has the core."""
    return "cpu" if all(name in samples for name in CLOCKS["cpu"]) else "wall"


def relative_times(samples: Mapping[str, Sequence[float]], calls: str, calibration: str) -> list[float]:
    """Sorted times in units of the calibration beside them; none without one. calls, calibration: names of samples."""
    seconds, unit = samples.get(calls, []), samples.get(calibration, [])
    if not len(seconds) or len(seconds) != len(unit):
        return []
    return evenly([call / beside for call, beside in zip(seconds, unit)])


def evenly(times: Iterable[float]) -> list[float]:
    """At most KEPT of these times, sorted, from all parts of their range."""
    ordered = sorted(times)
    if len(ordered) > KEPT:
        step = (len(ordered) - 1) / (KEPT - 1)
        ordered = [ordered[round(step * i)] for i in range(KEPT)]
    return [float(f"{value:.5g}") for value in ordered]


def by_measurement(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Successful records of each measurement (`Entry.key`), oldest first. records: in any order."""
    groups: dict[str, list[Record]] = {}
    for record in sorted((r for r in records if r.ok and r.kind in KINDS), key=lambda r: r.time):
        groups.setdefault(entry_of(record).key, []).append(record)
    return groups


def together(records: Sequence[Record]) -> Entry:
    """What the newest record says, with the times of all that measured the same code on the same machine.

    records: of one measurement, oldest first. At most RUNS count.
    """
    newest, commit = entry_of(records[-1]), records[-1].environment.get("commit")
    if not newest.times:
        return newest  # older ones do not stand in for what it lacks
    runs = [entry_of(r) for r in records[-RUNS:] if r.environment.get("commit") == commit]
    runs = [run for run in runs if (run.clock, run.machine) == (newest.clock, newest.machine)]
    return replace(newest, times=evenly([time for run in runs for time in run.times]), runs=len(runs))


def machine_of(record: Record) -> str:
    """Device and vector units: what decides relative times."""
    host = record.environment.get("host") or {}
    return f"{record.environment.get('device', '')} {host.get('vector_units', '')}".strip()


def make(records: Iterable[Record], tolerances: Tolerances | None = None, times: bool = True) -> Baseline:
    """A baseline of the successful records of each measurement, of kinds that can be compared (see `together`).

    times: keep them; without, the baseline is good for every machine.
    """
    groups = list(by_measurement(records).values())
    result = [together(group) for group in groups]
    newest = max((group[-1].time for group in groups), default="")
    kept = [entry if times else replace(entry, times=(), machine="", runs=1) for entry in result]
    return Baseline([entry for entry in kept if entry.comparable], tolerances or Tolerances(), newest)


def write(baseline: Baseline, path: Path) -> None:
    """Write a baseline file; it appears only when it is whole."""
    text = json.dumps({"schema": SCHEMA, **asdict(baseline)}, indent=1, sort_keys=True)
    text = re.sub(
        r"\[[\d\s.,e+-]+\]", lambda result: " ".join(result[0].split()), text
    )  # a list of numbers in one line
    atomic_write(path, text + "\n")


def read(path: Path) -> Baseline:
    """Read a baseline file. Raises BaselineError."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BaselineError(f"{path} cannot be read ({error.strerror}). `bench baseline` writes one.") from None
    except ValueError as error:
        raise BaselineError(f"{path} is not JSON ({error}).") from None
    try:
        if data["schema"] > SCHEMA:
            raise BaselineError(f"{path} has schema {data['schema']}, this program knows {SCHEMA}.")
        entries = [Entry(**rename(entry, data["schema"])) for entry in data["entries"]]
        baseline = Baseline(entries, Tolerances(**data["tolerances"]), str(data.get("newest", "")))
    except (KeyError, TypeError) as error:
        raise BaselineError(f"{path} is not a baseline ({error}).") from None
    if not baseline.entries:
        raise BaselineError(f"{path} has no measurements, so nothing could ever fail. `bench baseline` writes some.")
    return baseline
