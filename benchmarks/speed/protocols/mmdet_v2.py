"""MMDetection 2.x's inference benchmark (tools/analysis_tools/benchmark.py of 2.28.2), which gave the zoo's fps column.

Batch 1, images in order, loaded in the same process between the timed calls. Each call is timed alone, from a
synchronized device to a synchronized device, and goes from the image on the CPU to boxes and masks in original
coordinates in NumPy. The first 5 calls do not count; 2000 images at most.

The reference computes its fps only every `log_interval` images and at the last of 2000, so that on a shorter data
set it gives the fps of the last logged image, or 0; here a shorter dataset gives the fps over all its images.
"""

from __future__ import annotations

import sys

import torch

from benchmarks.speed.protocols.base import Measurement
from benchmarks.speed.workload import Workload
from benchmarks.system.timing import Stopwatch, summary
from zoo.errors import UsageError


def measure(workload: Workload, device: torch.device, num_warmup: int, max_iter: int, log_interval: int) -> Measurement:
    """fps = (number of calls - num_warmup) / seconds in them."""
    total = min(max_iter, len(workload))
    if total <= num_warmup:
        raise UsageError(f"mmdet-v2 leaves out the first {num_warmup} images and got only {total}.")
    watch, seconds, on_device = Stopwatch(device), [], []
    for i in range(total):
        batch = workload.load(i)
        _, timed = watch.time(workload.compute, batch)
        if i >= num_warmup:
            seconds.append(timed.seconds)
            on_device.append(timed.device_seconds)
            log(i + 1, total, log_interval, seconds)
    samples = {"latency_s": seconds} | ({"device_s": on_device} if on_device[0] is not None else {})
    return Measurement({"fps": len(seconds) / sum(seconds), **summary(seconds)}, samples, len(seconds))  # type: ignore[arg-type]


def log(done: int, total: int, interval: int, seconds: list[float]) -> None:
    """The reference's progress line, every `interval` images."""
    if interval and done % interval == 0:
        fps = len(seconds) / sum(seconds)
        line = f"Done image [{done:<3}/ {total}], fps: {fps:.1f} img / s, times per image: {1000 / fps:.1f} ms / img"
        print(line, file=sys.stderr, flush=True)
