"""The fastest of the runtimes that are installed, for one network on this machine: `bench inference --runtime auto`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import torch

from benchmarks.results import agreement
from benchmarks.speed.protocols import interleaved
from benchmarks.speed.workload import DetectorWorkload, ImageSource
from zoo.errors import ZooError

TORCH = "torch"
TRIAL = {"min_iterations": 4, "min_seconds": 0.0, "max_seconds": 120.0, "warmup_seconds": 5.0, "lap_calls": 1}
SAME_WORK = 0.99
"""Share of the network's detections that a runtime must give, too, to be chosen."""


def installed(runtimes: Sequence[str]) -> list[str]:
    """Those that can be imported; PyTorch always."""
    return [name for name in runtimes if name == TORCH or find_spec(name) is not None]


def fastest(
    model: Any, exported: Callable[[str], Any], runtimes: Sequence[str], images: Sequence[ImageSource]
) -> tuple[str, Any, dict[str, float]]:
    """The name of the fastest runtime, its detector, and the median milliseconds of each that does the same work.

    exported: makes the network's detector in a runtime; one that cannot is left out. All take turns on the images.
    """
    detectors: dict[str, Any] = {TORCH: model}
    for name in runtimes:
        if name != TORCH:
            try:
                detectors[name] = exported(name)
            except ZooError as error:
                print(f"bench: {name} is left out: {error}", file=sys.stderr)
    workloads = {name: DetectorWorkload(detector, images) for name, detector in detectors.items()}
    same = {name: one for name, one in workloads.items() if agrees(workloads[TORCH], one)}
    timed = interleaved.compare(same, torch.device("cpu"), TRIAL)
    took = {name: float(one.metrics["latency_ms_p50"]) for name, one in timed.items()}
    best = min(took, key=lambda name: took[name])
    return best, detectors[best], took


def agrees(plain: DetectorWorkload, other: DetectorWorkload) -> bool:
    """Whether both give the same detections in the first image."""
    if other is plain:
        return True
    want, have = (workload.compute(workload.load(0)) for workload in (plain, other))
    result = agreement.compare(want, have)
    return result.matched >= SAME_WORK and result.added <= (1 - SAME_WORK) * max(result.detections, 1)


def rounded(took: Mapping[str, float]) -> dict[str, float]:
    """For a record: what each of those that were tried took, in milliseconds."""
    return {name: round(milliseconds, 1) for name, milliseconds in took.items()}
