"""Stopwatches and what to make of their readings."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch

T = TypeVar("T")
PERCENTILES = (5, 25, 50, 75, 90, 95, 99)


class Timed(NamedTuple):
    """seconds: wall clock. device_seconds: between CUDA events around the work, None on a CPU.

    cpu_seconds: that the calling thread was computing, None where another device or process does the work.
    """

    seconds: float
    device_seconds: float | None
    cpu_seconds: float | None = None


class Stopwatch:
    """Times calls on a device. The clock starts and stops only when the device has nothing left to do."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.cuda = self.device.type == "cuda"

    def synchronize(self) -> None:
        """Wait for the device."""
        if self.cuda:
            torch.cuda.synchronize(self.device)

    def time(self, function: Callable[..., T], *arguments: Any) -> tuple[T, Timed]:
        """Call `function`; its result and how long it took until the device was done."""
        if not self.cuda:
            start, busy = time.perf_counter(), time.thread_time()
            result = function(*arguments)
            return result, Timed(time.perf_counter() - start, None, time.thread_time() - busy)
        return self._time_cuda(function, *arguments)

    def _time_cuda(self, function: Callable[..., T], *arguments: Any) -> tuple[T, Timed]:
        stream = torch.cuda.current_stream(self.device)
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        self.synchronize()
        start = time.perf_counter()
        begin.record(stream)
        result = function(*arguments)
        end.record(stream)
        self.synchronize()
        return result, Timed(time.perf_counter() - start, begin.elapsed_time(end) / 1000)


def summary(seconds: Sequence[float], prefix: str = "latency_ms") -> dict[str, float]:
    """Mean, percentiles and the 95% confidence interval of the median, in milliseconds."""
    values = np.asarray(seconds, np.float64) * 1000
    if len(values) == 0:
        return {}
    low, high = median_interval(values)
    numbers = {f"{prefix}_p{p}": float(np.percentile(values, p)) for p in PERCENTILES}
    extremes = {f"{prefix}_mean": float(values.mean()), f"{prefix}_min": float(values.min())}
    return numbers | extremes | {f"{prefix}_p50_low": low, f"{prefix}_p50_high": high}


def median_interval(values: Sequence[float] | np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """Confidence interval of the median from order statistics; no distribution is assumed.

    The number of samples below the true median is binomial (n, 1/2); the normal approximation gives the two ranks
    (Le Boudec, Performance Evaluation of Computer and Communication Systems, 2010, section 2.2).
    """
    ordered = np.sort(np.asarray(values, np.float64))
    n = len(ordered)
    z = {0.9: 1.645, 0.95: 1.96, 0.99: 2.576}[confidence]
    low = max(math.floor((n - z * math.sqrt(n)) / 2), 1)
    high = min(math.ceil(1 + (n + z * math.sqrt(n)) / 2), n)
    return float(ordered[low - 1]), float(ordered[high - 1])
