"""Our own protocol, the default: warm up until stable, keep every sample, report the median with its uncertainty.

Images are preprocessed and in memory before the clock starts. The warm-up repeats the same few batches, one of each
input shape, until two laps in a row differ by less than `stable`, or `warmup_seconds` have passed. Then whole passes
over the batches are timed, so that every image weighs the same, call by call, the device synchronized before and
after. fps is images per second of the median call: on a shared machine a mean follows the disturbances, a median the
detector. After each call a fixed calibration workload is timed as well (`calibration_s`), so that regression checks can
tell a slow detector from a slow machine. With one thread on a CPU the time that each call was computing is kept too
(`cpu_s`, `calibration_cpu_s`): unlike the wall clock, it does not run while a neighbor has the core.

`compare` times several detectors in turns, call by call and in alternating order, so that a drift of clocks or load
meets all of them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from benchmarks.results.sample_names import CPU_SAMPLES, SAMPLES
from benchmarks.speed.protocols.base import Measurement
from benchmarks.speed.protocols.table import INTERLEAVED
from benchmarks.speed.workload import Workload
from benchmarks.system.calibration import Calibration
from benchmarks.system.timing import Stopwatch, Timed, median_interval, summary


@dataclass(frozen=True)
class Schedule:
    """How long to measure.

    At least `min_iterations` calls and `min_seconds`, in whole passes over the batches, and not much longer than
    `max_seconds`. loaded: batches kept in memory. The warm-up ends when two laps of at least `lap_calls` calls
    differ by less than the share `stable`, or after `warmup_seconds`.
    """

    min_iterations: int
    min_seconds: float
    max_seconds: float
    loaded: int
    stable: float
    lap_calls: int
    warmup_seconds: float


def measure(workload: Workload, device: torch.device, calibrate: bool, **schedule: Any) -> Measurement:
    """fps = batch / median seconds of a call. schedule: the fields of `Schedule`."""
    workloads: dict[str, Workload] = {"detector": workload}
    if calibrate:
        workloads["calibration"] = Calibration(device)
    timings = interleave(workloads, device, Schedule(**schedule))
    result = measurement(timings["detector"], workload.batch)
    if calibrate:
        add_calibration(result, timings["calibration"])
    return result


def compare(
    workloads: Mapping[str, Workload], device: torch.device, overrides: Mapping[str, Any] | None = None
) -> dict[str, Measurement]:
    """A measurement of each workload, all taken in turns; the first name is the one that the others are compared with.

    `speedup` is the median over pairs of neighboring calls (seconds of the first / seconds of this one), with its 95%
    confidence interval.
    """
    parameters = {k: v for k, v in INTERLEAVED.parameters(overrides).items() if k != "calibrate"}
    timings = interleave(workloads, device, Schedule(**parameters))
    results = {name: measurement(timings[name], workloads[name].batch) for name in workloads}
    base = np.array(results[next(iter(results))].samples["latency_s"])
    for result in results.values():
        ratios = base / np.array(result.samples["latency_s"])
        low, high = median_interval(ratios)
        result.metrics |= {"speedup": float(np.median(ratios)), "speedup_low": low, "speedup_high": high}
    return results


def interleave(workloads: Mapping[str, Workload], device: torch.device, schedule: Schedule) -> dict[str, list[Timed]]:
    """Timings of each workload, batch by batch in turns; sample i of all of them is the same batch."""
    watch, count = Stopwatch(device), min(schedule.loaded, max(len(w) for w in workloads.values()))
    batches = {name: [w.load(i % len(w)) for i in range(count)] for name, w in workloads.items()}
    for name, workload in workloads.items():
        warm_up(workload, batches[name], watch, schedule)
    timings: dict[str, list[Timed]] = {name: [] for name in workloads}
    start, done = time.perf_counter(), 0
    while done < max(schedule.min_iterations, 1) or time.perf_counter() - start < schedule.min_seconds:
        for i in range(count):
            for name in order(list(workloads), done):
                timings[name].append(call(workloads[name], batches[name][i], watch))
            done += 1
        if time.perf_counter() - start > schedule.max_seconds:
            break
    return timings


def call(workload: Workload, batch: Any, watch: Stopwatch) -> Timed:
    """The time of one call; a workload in another process keeps its own (`time`)."""
    own = getattr(workload, "time", None)
    return (own(batch) if own else watch.time(workload.compute, batch))[1]


def order(names: list[str], turn: int) -> list[str]:
    """A B in even turns, B A in odd ones: none is always the one that runs on a warm cache."""
    return names if turn % 2 == 0 else names[::-1]


def warm_up(workload: Workload, batches: list[Any], watch: Stopwatch, schedule: Schedule) -> None:
    """Repeat the same calls, at least `lap_calls` a lap, until their time settles, or the time for it is up."""
    chosen = representatives(batches)
    calls = chosen * max(1, schedule.lap_calls // len(chosen))
    before, total = 0.0, 0.0
    while True:
        seconds = sum(call(workload, batch, watch).seconds for batch in calls)
        total += seconds
        if abs(seconds - before) <= schedule.stable * seconds or total > schedule.warmup_seconds:
            return
        before = seconds


def representatives(batches: list[Any]) -> list[Any]:
    """The first batch of each input shape, ten at most; a batch without a shape stands for itself."""
    shapes: dict[Any, Any] = {}
    for i, batch in enumerate(batches):
        images = getattr(batch, "images", None)
        shapes.setdefault(i if images is None else tuple(images.shape), batch)
    return list(shapes.values())[:10]


def measurement(timings: list[Timed], batch: int) -> Measurement:
    """Numbers and raw samples."""
    seconds = [timed.seconds for timed in timings]
    samples = {"latency_s": seconds}
    if timings[0].device_seconds is not None:
        samples["device_s"] = [timed.device_seconds or 0.0 for timed in timings]
    if (busy := cpu_times(timings)) is not None:
        samples["cpu_s"] = busy
    return Measurement(
        {"fps": batch / float(np.median(seconds)), "samples": len(seconds), **summary(seconds)},
        samples,
        len(seconds) * batch,
    )


def add_calibration(result: Measurement, timings: list[Timed]) -> None:
    """Keep what the calibration took beside each call."""
    result.samples[SAMPLES] = [timed.seconds for timed in timings]
    if (busy := cpu_times(timings)) is not None:
        result.samples[CPU_SAMPLES] = busy


def cpu_times(timings: list[Timed]) -> list[float] | None:
    """Seconds of computing of each call, where the calling thread does all of the work; None where others help."""
    result = [timed.cpu_seconds for timed in timings if timed.cpu_seconds is not None]
    return result if len(result) == len(timings) and torch.get_num_threads() == 1 else None
