"""MLPerf Inference, offline: throughput when all images are there at once.

One query holds all samples: at least 24,576 of them, and enough for at least 600 s at the speed seen in the warm-up,
with LoadGen's margin of 10%. Batches are computed one after the other; one clock runs from the first to the last
result. Images are preprocessed and in memory before it starts. As for single stream, no MLPerf result comes of it.
"""

from __future__ import annotations

import math
import time
from itertools import pairwise

import torch

from benchmarks.speed.protocols.base import Measurement
from benchmarks.speed.workload import Workload
from benchmarks.system.timing import Stopwatch

MARGIN = 1.1


def measure(workload: Workload, device: torch.device, min_samples: int, min_seconds: float, loaded: int) -> Measurement:
    """fps is the throughput; samples hold each batch's seconds, without waiting for the device between batches."""
    batches = [workload.load(i) for i in range(min(math.ceil(loaded / workload.batch), len(workload)))]
    watch = Stopwatch(device)
    watch.time(workload.compute, batches[0])
    _, timed = watch.time(workload.compute, batches[0])
    needed = max(min_samples, 1, math.ceil(MARGIN * min_seconds * workload.batch / timed.seconds))
    images, ends = 0, [time.perf_counter()]
    while images < needed:
        batch = batches[(len(ends) - 1) % len(batches)]
        images += len(workload.compute(batch))
        ends.append(time.perf_counter())
    watch.synchronize()
    seconds = time.perf_counter() - ends[0]
    steps = [after - before for before, after in pairwise(ends)]
    return Measurement({"fps": images / seconds, "seconds": seconds}, {"batch_s": steps}, images)
