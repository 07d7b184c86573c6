"""The share of the machine's limit that a network reaches, and the layers that lose most.

A layer's limit is the larger of its operations over the peak of their kind and its bytes over the bandwidth, both
measured in the same run. Layers run one after the other, so the network's limit is the sum; what could be saved by
joining layers is not in it. What is neither a product nor a convolution (selection, NMS, RoI align) has bytes only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from torch import nn

from benchmarks.speed.roofline.peaks import Peaks, measure
from benchmarks.speed.roofline.trace import Operation, Trace, watched
from benchmarks.speed.workload import DetectorWorkload
from benchmarks.system.timing import Stopwatch

ROUNDS, WORST = 5, 5
OUTSIDE = "(outside of layers)"


@dataclass(frozen=True)
class Layer:
    """One layer's time and limit in seconds, over all its calls, and what it did."""

    name: str
    operations: str
    calls: int
    flops: float
    bytes: float
    seconds: float
    limit: float

    @property
    def lost(self) -> float:
        """Seconds above the limit."""
        return self.seconds - self.limit


@dataclass(frozen=True)
class Limit:
    """seconds: of a call without tracing, the median. limit: of its layers together.

    floor_mib: weights, input and the most that other tensors took at once. worst: layers that lose most.
    """

    seconds: float
    limit: float
    floor_mib: float
    weights_mib: float
    worst: list[Layer]
    peaks: Peaks

    @property
    def share(self) -> float:
        """Of the limit's speed, 1 at the limit."""
        return self.limit / self.seconds

    def to_dict(self) -> dict[str, Any]:
        """For a record."""
        return {**asdict(self), "share": self.share}


def of(workload: DetectorWorkload, rounds: int = ROUNDS) -> Limit:
    """Measure a network on its first batch, its peaks before and after; the better of these count."""
    batch, device = workload.load(0), workload.device
    watch, before = Stopwatch(device), measure(device)
    workload.compute(batch)
    seconds = median(watch.time(workload.compute, batch)[1].seconds for _ in range(rounds))
    traces = [traced(workload, batch) for _ in range(2)]  # the first one pays for what is made once
    peaks = better(before, measure(device))
    layers = by_layer(traces[-1].operations, peaks)
    weights = held(workload.model) + batch.images.numel() * batch.images.element_size()
    return Limit(
        seconds=seconds,
        limit=sum(layer.limit for layer in layers),
        floor_mib=(weights + traces[-1].peak) / 2**20,
        weights_mib=held(workload.model) / 2**20,
        worst=sorted(layers, key=lambda layer: -layer.lost)[:WORST],
        peaks=peaks,
    )


def traced(workload: DetectorWorkload, batch: Any) -> Trace:
    """One call's operations."""
    with watched(workload.model, workload.device) as trace:
        workload.compute(batch)
    return trace


def better(one: Peaks, other: Peaks) -> Peaks:
    """The higher of each number: a disturbed measurement is too low, never too high."""
    return Peaks(**{name: max(value, getattr(other, name)) for name, value in one.to_dict().items()})


def by_layer(operations: Sequence[Operation], peaks: Peaks) -> list[Layer]:
    """Operations collected by layer."""
    groups: dict[str, list[Operation]] = defaultdict(list)
    for operation in operations:
        groups[operation.layer].append(operation)
    return [layer(name or OUTSIDE, group, peaks) for name, group in groups.items()]


def layer(name: str, group: Sequence[Operation], peaks: Peaks) -> Layer:
    """One layer. Its name is followed by the operations that took most of its time."""
    taken: dict[str, float] = defaultdict(float)
    for operation in group:
        taken[operation.name] += operation.seconds
    main = sorted(taken, key=lambda key: -taken[key])[:2]
    return Layer(
        name,
        ", ".join(main),
        len(group),
        sum(one.flops for one in group),
        sum(one.size for one in group),
        sum(one.seconds for one in group),
        sum(peaks.seconds(one.kind, one.flops, one.size) for one in group),
    )


def held(model: nn.Module) -> float:
    """Bytes of parameters and buffers."""
    return float(sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers())))
