"""From the bytes of image files to detections as JSON: each stage alone, and images overlapped in several streams.

Serial: one image after the other. Each stage has a clock of its own (decode, resize, normalize, copy to the device,
network, post-processing, encode), the device synchronized between stages; their sum is the whole but for the clocks
themselves. Overlapped: `streams` threads, each with its own images (and its own stream on a GPU), take them through all
stages at once; the detections must be those of the serial run.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch

from benchmarks.results import fingerprint
from benchmarks.speed.pipeline import STAGES, Pipeline, contents
from benchmarks.speed.protocols.base import Measurement
from benchmarks.speed.workload import DetectorWorkload
from benchmarks.system.timing import Stopwatch, summary
from zoo.errors import UsageError, ZooError
from zoo.structures import Detections

# Streams compute in other orders; beyond these differences they detect something else.
SCORE, BOX = 1e-3, 0.1


def measure(
    workload: Any, device: torch.device, streams: int, loaded: int, min_seconds: float, num_warmup: int
) -> Measurement:
    """fps is that of the serial run; `overlapped_fps` of the streams. Raises ZooError where they detect otherwise."""
    if not isinstance(workload, DetectorWorkload):
        raise UsageError("end-to-end cuts a detector into stages, which only one in this process allows.")
    if streams < 1:
        raise UsageError("end-to-end needs at least one stream.")
    files = contents(list(workload.images[:loaded]))
    pipeline = Pipeline(workload, Stopwatch(device).synchronize)
    for content in files[: max(num_warmup, 1)]:
        pipeline.whole(content)
    detections, samples = serial(pipeline, files, min_seconds)
    fps, overlapped = in_streams(pipeline, files, streams, min_seconds, device)
    check_equal(detections, overlapped)
    return Measurement(metrics(samples) | {"overlapped_fps": fps}, samples, len(samples["latency_s"]))


def serial(
    pipeline: Pipeline, files: Sequence[np.ndarray], min_seconds: float
) -> tuple[list[Detections], dict[str, list[float]]]:
    """Detections of each image, and seconds of each stage and of the whole, in whole passes."""
    samples: dict[str, list[float]] = {"latency_s": [], **{f"{stage}_s": [] for stage in STAGES}}
    start = time.perf_counter()
    detections: list[Detections] = []
    with pipeline.clock.running():
        while not detections or time.perf_counter() - start < min_seconds:
            detections = [one_image(pipeline, content, samples) for content in files]
    return detections, samples


def one_image(pipeline: Pipeline, content: np.ndarray, samples: dict[str, list[float]]) -> Detections:
    """One image, its times added to the samples."""
    start = time.perf_counter()
    _, detections, seconds = pipeline.timed(content)
    samples["latency_s"].append(time.perf_counter() - start)
    for stage in STAGES:
        samples[f"{stage}_s"].append(seconds[stage])
    return detections[0]


def in_streams(
    pipeline: Pipeline, files: Sequence[np.ndarray], streams: int, min_seconds: float, device: torch.device
) -> tuple[float, list[Detections]]:
    """Images per second with several at once, in whole passes, and the detections of the last one."""
    run, done, detections = streamed(pipeline, device), 0, []
    with ThreadPoolExecutor(streams) as pool:
        list(pool.map(run, files[:streams]))  # threads and streams are made once
        start = time.perf_counter()
        while not done or time.perf_counter() - start < min_seconds:
            detections = list(pool.map(run, files))
            done += len(files)
        return done / (time.perf_counter() - start), detections


def streamed(pipeline: Pipeline, device: torch.device) -> Callable[[np.ndarray], Detections]:
    """What a thread does to an image, in the thread's own stream on a GPU."""
    own = threading.local()

    def stream() -> AbstractContextManager[Any]:
        if device.type != "cuda":
            return nullcontext()
        if not hasattr(own, "stream"):
            own.stream = torch.cuda.Stream(device)
        return torch.cuda.stream(own.stream)

    def run(content: np.ndarray) -> Detections:
        with stream():
            return pipeline.whole(content)[0]

    return run


def check_equal(serial: Sequence[Detections], overlapped: Sequence[Detections]) -> None:
    """Raise ZooError where streams detect something else than one image after the other."""
    then, now = (fingerprint.flatten(detections) for detections in (serial, overlapped))
    if said := fingerprint.differences(then, now, SCORE, BOX):
        raise ZooError(f"overlapped images give other detections than serial ones: {said[0]}")


def metrics(samples: dict[str, list[float]]) -> dict[str, float]:
    """fps, the mean of each stage in milliseconds, and the share of the whole that no stage accounts for."""
    whole = float(np.sum(samples["latency_s"]))
    stages = {stage: float(np.sum(samples[f"{stage}_s"])) for stage in STAGES}
    count = len(samples["latency_s"])
    means = {f"stage_ms_{stage}": 1000 * seconds / count for stage, seconds in stages.items()}
    rest = 1 - sum(stages.values()) / whole
    return {"fps": count / whole, **means, "unaccounted_share": rest, **summary(samples["latency_s"])}
