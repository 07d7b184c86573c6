"""How sure a number is: 95% intervals from the replicates of a bootstrap over images (Efron and Tibshirani, 1993).

The interval is the estimate plus and minus 1.96 standard deviations of its replicates. Percentiles of the replicates
would be shifted: an AP over few images is too high on average, and a replicate, which has fewer different images than
the dataset, even more (`python -m benchmarks.perf.interval_coverage`).

Replicates of two runs over the same images with the same seed belong together, one by one: their differences are the
replicates of the difference, in which what both runs share cancels out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.results.record import Record

DEVIATIONS = 1.96
INTERVALS = "interval_95"  # condition of a record: name of a metric -> [low, high]
CLASSES = "class_ap"  # condition of a record: measure -> name of a class -> its AP
PARAMETER = "bootstrap"  # parameter of a record: images, replicates, seed, and a digest of what was drawn from
SAMPLES = "replicates "  # prefix of the samples of a record, followed by a metric's name
FEWEST = 20  # replicates with something to find; an interval of fewer is not given


@dataclass(frozen=True)
class Difference:
    """A metric of two runs over the same images, fractions of 1. low, high: 95% interval of `second - first`."""

    metric: str
    first: float
    second: float
    low: float
    high: float

    @property
    def value(self) -> float:
        """How much more the second run has."""
        return self.second - self.first

    @property
    def sign(self) -> int:
        """1 or -1 where the interval is on one side of zero, else 0."""
        return int(self.low > 0) - int(self.high < 0)


def interval(estimate: float, replicates: Sequence[float | None]) -> tuple[float, float] | None:
    """(low, high) of an estimate; None where too few replicates are known."""
    reach = margin(replicates)
    return None if reach is None or estimate < 0 else (max(estimate - reach, 0.0), min(estimate + reach, 1.0))


def margin(replicates: Sequence[float | None]) -> float | None:
    """Half the width of an interval; None where too few replicates are known."""
    import numpy as np

    known = np.array([value for value in replicates if value is not None], np.float64)
    known = known[np.isfinite(known)]
    return DEVIATIONS * float(known.std(ddof=1)) if len(known) >= FEWEST else None


def of_record(record: Record, metric: str) -> tuple[float, float] | None:
    """The interval of a record's metric; None where it has none."""
    pair = (record.conditions.get(INTERVALS) or {}).get(metric)
    return (float(pair[0]), float(pair[1])) if pair else None


def of_metrics(metrics: Mapping[str, Any], replicates: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """[low, high] by name for each metric that has replicates and an interval."""
    pairs = {name: interval(metrics[name], values) for name, values in replicates.items() if name in metrics}
    return {name: list(pair) for name, pair in pairs.items() if pair is not None}


def why_not_paired(first: Mapping[str, Any] | None, second: Mapping[str, Any] | None) -> str | None:
    """Why the replicates of two runs do not belong together, from their PARAMETER; None where they do."""
    for name, one in (("first", first), ("second", second)):
        if not one:
            return f"the {name} run kept no replicates"
    assert first and second
    if first.get("drawn_from") != second.get("drawn_from"):
        return "the runs are over different images or annotations"
    if any(first.get(key) != second.get(key) for key in ("seed", "replicates")):
        return "the runs drew different replicates"
    return None


def paired(
    metric: str, first: float, second: float, before: Sequence[float | None], after: Sequence[float | None]
) -> Difference | None:
    """The difference with its interval. before, after: replicates of both runs, in the order they were drawn in."""
    if len(before) != len(after) or min(first, second) < 0:
        return None
    reach = margin([None if a is None or b is None else b - a for a, b in zip(before, after)])
    return None if reach is None else Difference(metric, first, second, second - first - reach, second - first + reach)


def differences(first: Record, second: Record) -> list[Difference]:
    """Each metric that both records have replicates of."""
    shared = [name.removeprefix(SAMPLES) for name in first.samples if name.startswith(SAMPLES)]
    pairs = [
        paired(name, first.metrics[name], second.metrics[name], first.samples[key], second.samples[key])
        for name in shared
        if (key := SAMPLES + name) in second.samples and name in first.metrics and name in second.metrics
    ]
    return [one for one in pairs if one is not None]


def verdict(one: Difference, first: str, second: str) -> str:
    """The difference in words. first, second: names of the runs."""
    points = f"{100 * one.value:+.2f} points, 95% interval {100 * one.low:+.2f} to {100 * one.high:+.2f}"
    if one.low == one.high == 0:
        return f"{first} and {second} have the same {one.metric} in every replicate."
    if one.sign == 0:
        return f"No difference is shown between {first} and {second} in {one.metric} ({second}: {points})."
    word = "better" if one.sign > 0 else "worse"
    return f"{second} is {word} than {first} in {one.metric} ({points})."
