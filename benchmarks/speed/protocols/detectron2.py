"""Detectron2's inference loop (evaluation/evaluator.py, inference_on_dataset), which gave its zoo's s/im column.

Batch 1. Data loading, computing and evaluating each have a clock of their own; all are started anew after min(5, n - 1)
images. The published number is the compute time per image, from preprocessed image to results in original
coordinates, the device synchronized after the call but, as in the reference, not before it.

Detectron2 leaves its results on the GPU and moves them within the evaluation clock; here they reach the CPU in the
compute clock already, which makes this number no better than Detectron2's own.
"""

from __future__ import annotations

import time

import torch

from benchmarks.speed.protocols.base import Measurement
from benchmarks.speed.workload import Workload
from benchmarks.system.timing import Stopwatch, summary
from zoo.errors import UsageError


def measure(workload: Workload, device: torch.device, num_warmup: int, max_iter: int) -> Measurement:
    """fps = 1 / compute seconds per image."""
    total = min(max_iter, len(workload))
    if total == 0:
        raise UsageError("detectron2: there are no images to measure on.")
    warmup, watch = min(num_warmup, total - 1), Stopwatch(device)
    clocks: dict[str, list[float]] = {"data_s": [], "latency_s": [], "evaluate_s": []}
    for i in range(total):
        times = one_image(workload, watch, i)
        if i >= warmup:
            for samples, seconds in zip(clocks.values(), times):
                samples.append(seconds)
    metrics = {f"{name}_per_image": sum(samples) / len(samples) for name, samples in clocks.items()}
    compute = metrics.pop("latency_s_per_image")
    metrics |= {"fps": 1 / compute, "compute_s_per_image": compute, **summary(clocks["latency_s"])}
    return Measurement(metrics, clocks, total - warmup)


def one_image(workload: Workload, watch: Stopwatch, index: int) -> tuple[float, float, float]:
    """Seconds of loading, computing and evaluating."""
    start = time.perf_counter()
    batch = workload.load(index)
    loaded = time.perf_counter()
    results = workload.compute(batch)
    watch.synchronize()
    computed = time.perf_counter()
    workload.evaluate(results)
    return loaded - start, computed - loaded, time.perf_counter() - computed
