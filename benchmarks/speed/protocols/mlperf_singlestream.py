"""MLPerf Inference, single stream: the 90th percentile of latency when each query waits for the one before.

Images are preprocessed and in memory before the clock starts, as MLPerf's rules have it. Queries draw them at random
with a fixed seed. A run has at least 1,024 queries and takes at least 600 s (mlcommons/inference, mlperf.conf). The
percentile is the element at index floor(0.9 n) of the sorted latencies, as LoadGen takes it. LoadGen's early stopping,
its audit and its accuracy run are not part of this: a number from here is measured alike, but is no MLPerf result.
"""

from __future__ import annotations

import time

import numpy as np
import torch

from benchmarks.speed.protocols.base import Measurement
from benchmarks.speed.workload import Workload
from benchmarks.system.timing import Stopwatch, summary


def measure(
    workload: Workload, device: torch.device, min_queries: int, min_seconds: float, loaded: int, seed: int
) -> Measurement:
    """fps is queries per second; the protocol's own number is latency_ms_mlperf_p90."""
    batches = [workload.load(i) for i in range(min(loaded, len(workload)))]
    draw, watch = np.random.RandomState(seed), Stopwatch(device)
    seconds: list[float] = []
    watch.time(workload.compute, batches[0])  # LoadGen lets the system under test warm up before the run
    start = time.perf_counter()
    while len(seconds) < max(min_queries, 1) or time.perf_counter() - start < min_seconds:
        _, timed = watch.time(workload.compute, batches[draw.randint(len(batches))])
        seconds.append(timed.seconds)
    tail = sorted(seconds)[int(0.9 * len(seconds))]
    metrics = {"fps": len(seconds) / sum(seconds), "latency_ms_mlperf_p90": tail * 1000, **summary(seconds)}
    return Measurement(metrics, {"latency_s": seconds}, len(seconds))
