"""Has anything become worse? Records against a committed baseline.

Accuracies and single detections must agree within a stated tolerance, or, where both runs kept the replicates of a
bootstrap over the same images, the 95% interval of the paired difference has to exclude zero; parameters, operations
and allocated bytes exactly; times must pass a rank test on raw samples (Mann-Whitney) and a factor, both on times
relative to a calibration workload that ran between the calls. A measurement that is missing or failed is a failure,
never a pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.results import fingerprint, interval
from benchmarks.results.baseline import EXACT, Baseline, Entry, by_measurement, together
from benchmarks.results.interval import Difference
from benchmarks.results.rank_test import p_value
from benchmarks.results.record import Record
from benchmarks.results.tolerances import Tolerances

FALLEN = 5  # classes that a finding names
FAILURES = ("regression", "changed", "missing", "failed")

LOWER_IS_BETTER = ("miss_rate",)


@dataclass(frozen=True)
class Finding:
    """One quantity of one measurement, then and now.

    verdict: same, improved, regression, uncertain (another accuracy, but the interval of its difference contains zero),
    changed (an exact quantity differs), missing (no record), failed (the record says so), or unknown (nothing to
    compare with).
    """

    measurement: str
    quantity: str
    verdict: str
    then: float | None = None
    now: float | None = None
    detail: str = ""

    @property
    def fails(self) -> bool:
        """Whether CI should."""
        return self.verdict in FAILURES


def check(baseline: Baseline, records: Iterable[Record]) -> list[Finding]:
    """Compare each measurement of the baseline with its newest records. records: in any order."""
    records = list(records)
    done = by_measurement(records)
    failures: dict[tuple[str, str], Record] = {}
    for record in sorted((r for r in records if not r.ok), key=lambda r: r.time):
        # a failed record may know little of its parameters, so it stands for all of them
        failures[record.model, record.kind] = record
    return [
        finding
        for entry in baseline.entries
        for finding in check_entry(
            entry, done.get(entry.key, []), failures.get((entry.model, entry.kind)), baseline.tolerances
        )
    ]


def check_entry(
    entry: Entry, records: Sequence[Record], failure: Record | None, tolerances: Tolerances
) -> list[Finding]:
    """All findings of one measurement: of its records, oldest first, unless a newer one failed."""
    if failure is not None and (not records or failure.time > records[-1].time):
        return [Finding(entry.title, "status", "failed", detail=f"{failure.status}: {failure.reason}")]
    if not records:
        return [Finding(entry.title, "status", "missing", detail="no record of this measurement")]
    now = together(records)
    result = [exact(entry, now, name) for name in EXACT if name in entry.metrics]
    if entry.kind == "accuracy":
        result += [accuracy(entry, now, name, tolerances) for name in entry.metrics if name not in EXACT]
    if entry.detections is not None:
        result.append(detections(entry, now, tolerances))
    if entry.times:
        result.append(time(entry, now, tolerances))
    return result or [Finding(entry.title, "status", "missing", detail="the baseline has nothing to compare with")]


def exact(then: Entry, now: Entry, name: str) -> Finding:
    """A quantity that must not change at all."""
    a, b = then.metrics[name], now.metrics.get(name)
    return Finding(then.title, name, "same" if a == b else "missing" if b is None else "changed", a, b)


def accuracy(then: Entry, now: Entry, name: str, tolerances: Tolerances) -> Finding:
    """A metric of which more is better, unless it is one of LOWER_IS_BETTER."""
    a, b = then.metrics[name], now.metrics.get(name)
    if b is None:
        return Finding(then.title, name, "missing", a, b)
    verdict, detail = "same", f"tolerance {tolerances.accuracy:g}"
    if abs(b - a) > tolerances.accuracy:
        better = b < a if name in LOWER_IS_BETTER else b > a
        verdict = "improved" if better else "regression"
        if (one := paired_difference(then, now, name)) is not None:
            verdict = verdict if one.sign else "uncertain"
            detail += f", difference {one.value:+.4f}, 95% interval {one.low:+.4f} to {one.high:+.4f}"
        detail += fallen(then, now, name)
    return Finding(then.title, name, verdict, a, b, detail)


def fallen(then: Entry, now: Entry, name: str) -> str:
    """The classes whose AP fell most, as the end of a sentence; nothing for metrics other than a measure's AP."""
    measure = name.removesuffix("_ap")
    before, after = then.classes.get(measure, {}), now.classes.get(measure, {})
    falls = sorted((after[one] - before[one], one) for one in before if one in after and after[one] < before[one])
    if not falls or measure == name:
        return ""
    more = f" and {len(falls) - FALLEN} more" if len(falls) > FALLEN else ""
    return f"; fell most: {', '.join(f'{one} {value:+.4f}' for value, one in falls[:FALLEN])}{more}"


def paired_difference(then: Entry, now: Entry, name: str) -> Difference | None:
    """A metric's difference with its interval; None unless both runs kept replicates over the same images."""
    if interval.why_not_paired(then.bootstrap, now.bootstrap) is not None:
        return None
    before, after = then.replicates.get(name, ()), now.replicates.get(name, ())
    values = [[None if value < 0 else value for value in listed] for listed in (before, after)]
    return interval.paired(name, then.metrics[name], now.metrics[name], *values)


def detections(then: Entry, now: Entry, tolerances: Tolerances) -> Finding:
    """What was found in the first images, detection by detection."""
    if now.detections is None:
        return Finding(then.title, "detections", "missing", detail="the record has no detections")
    said = fingerprint.differences(then.detections or (), now.detections, tolerances.score, tolerances.box)
    a, b = (len(values or ()) / fingerprint.FIELDS for values in (then.detections, now.detections))
    detail = "; ".join(said) or f"scores within {tolerances.score:g}, boxes within {tolerances.box:g} pixels"
    return Finding(then.title, "detections", "changed" if said else "same", a, b, detail)


def time(then: Entry, now: Entry, tolerances: Tolerances) -> Finding:
    """Relative times: the medians differ by more than a factor, and the ranks say that it is not an accident."""
    if not now.times:
        return Finding(then.title, "relative time", "missing", detail="the record has no calibrated samples")
    if then.clock != now.clock:
        detail = f"{now.clock} times do not compare with {then.clock} times: measure with as many threads as then"
        return Finding(then.title, "relative time", "missing", detail=detail)
    a, b = median(then.times), median(now.times)
    factor = tolerances.time if then.machine == now.machine else tolerances.other_machine
    slower, faster = p_value(now.times, then.times), p_value(then.times, now.times)
    verdict = "same"
    if b > a * factor and slower < tolerances.significance:
        verdict = "regression"
    elif a > b * factor and faster < tolerances.significance:
        verdict = "improved"
    detail = f"factor {b / a:.3f}, limit {factor:g}, p {min(slower, faster):.1e}, runs {then.runs} and {now.runs}"
    return Finding(then.title, "relative time", verdict, a, b, detail)
