"""Two accuracies over the same images: what the difference is, and whether it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.results import interval
from benchmarks.results.interval import Difference
from benchmarks.results.record import Record


@dataclass(frozen=True)
class Paired:
    """The differences of `second - first`, by metric, with a verdict on the first one; or why there are none."""

    first: str
    second: str
    differences: Sequence[Difference] = field(default_factory=list)
    why_not: str = ""

    @property
    def verdict(self) -> str:
        """One sentence about the main metric."""
        return interval.verdict(self.differences[0], self.first, self.second) if self.differences else self.why_not

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        rows = [asdict(one) | {"difference": one.value, "shown": one.sign != 0} for one in self.differences]
        return {"differences": rows, "verdict": self.verdict, "why_not": self.why_not or None}


def compare(first: Record, second: Record) -> Paired:
    """The paired comparison of two records of kind accuracy."""
    names = (first.model, second.model)
    if names[0] == names[1]:
        names = (f"{first.model} ({first.id[:8]})", f"{second.model} ({second.id[:8]})")
    if first.protocol != second.protocol:
        return Paired(*names, why_not=f"the protocols differ ({first.protocol} and {second.protocol})")
    parameters = (first.parameters.get(interval.PARAMETER), second.parameters.get(interval.PARAMETER))
    if reason := interval.why_not_paired(*parameters):
        return Paired(*names, why_not=reason)
    differences = interval.differences(first, second)
    return Paired(*names, differences, "" if differences else "the records share no metric with replicates")
