"""`bench accuracy` on many generated images: is memory flat, and do loader threads and processes make it faster?

    python -m benchmarks.perf.accuracy_scale [--images 5000] [--model demo_atss] [--threads 1,2] [--processes 2]

Without a model a stand-in detects, which costs next to nothing: then reading, resizing, collecting and evaluating are
what is measured, on images of 480 x 640, and a single loader thread has nothing to work beside. A model of the
demonstration gets the demonstration's images, drawn anew.
Each way of running evaluates all of them in processes of its own, with one thread for PyTorch in each. Resident MiB,
of the largest process: after a tenth of the images, half of them and all, and the peak, which is in the evaluation.
What must grow are the results: 2,800 bytes for an image with 100 boxes. All ways must give the same numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import torch
from torch import Tensor

import zoo
from benchmarks.accuracy import measure as accuracy
from benchmarks.accuracy import sharding
from benchmarks.datasets import demo
from benchmarks.datasets.catalog import open_dataset
from benchmarks.datasets.dataset import Dataset
from benchmarks.datasets.request import MetricConfig
from benchmarks.perf import stand_in
from benchmarks.perf.printed import numbers
from benchmarks.system.memory import MemoryMeter, resident_mib
from zoo.structures import Detections, Sample

MOMENTS = ("a tenth", "half", "all", "peak")


def main() -> None:
    """Measure, and print the table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--model", help="one of the demonstration's models")
    parser.add_argument("--threads", default="1,2", help="of the loader, with commas (%(default)s)")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", nargs=3, metavar=("DATA", "THREADS", "OUT"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        evaluate(args.model, Path(args.child[0]), int(args.child[1]), Path(args.child[2]))
        return
    threads = [int(number) for number in args.threads.split(",")]
    result = measure(args.model, args.images, threads, args.processes)
    print(numbers(result, args.json, width=52))


def measure(model: str | None, images: int, threads: list[int], processes: int) -> dict[str, Any]:
    """Each way of running: images per second, the ratio to a single plain process, and resident sizes."""
    ways = {"1 process": (1, 0)}
    ways |= {f"1 process, loader threads: {count}": (1, count) for count in threads}
    ways |= {f"{processes} processes": (processes, 0)}
    result: dict[str, Any] = {"images": images, "cores": len(os.sched_getaffinity(0)), "load before": load()}
    with tempfile.TemporaryDirectory() as folder:
        data = demo.write(folder, {"val": images}) if model else stand_in.write(Path(folder) / "data", images)
        collected = {title: run(model, data, *way) for title, way in ways.items()}
    plain = collected["1 process"]
    for title, one in collected.items():
        result[f"{title}: images per s"] = round(images / one["seconds"], 1)
        result[f"{title}: ratio to 1 process"] = round(plain["seconds"] / one["seconds"], 2)
        result[f"{title}: processor time, ms per image"] = round(1000 * one["cpu"] / images, 2)
        result |= {f"{title}: {moment}, MiB": round(one[moment]) for moment in MOMENTS}
    result["the same numbers in all"] = all(one["metrics"] == plain["metrics"] for one in collected.values())
    return result


def load() -> float:
    """How many processes wanted to run in the last minute; more than nothing is not an idle machine."""
    return round(os.getloadavg()[0], 1)


def run(model: str | None, data: Path, processes: int, threads: int) -> dict[str, Any]:
    """One way of running: seconds and metrics of rank 0, processor time of all, sizes of the largest process."""
    with tempfile.TemporaryDirectory() as out:
        words = [sys.executable, "-m"]
        if processes > 1:
            words += ["torch.distributed.run", "--standalone", "--nproc_per_node", str(processes), "-m"]
        words += ["benchmarks.perf.accuracy_scale", "--child", str(data), str(threads), out]
        words += ["--model", model] if model else []
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"a run has failed: {done.stderr[-2000:]}")
        parts = [json.loads(path.read_text()) for path in sorted(Path(out).iterdir())]
    largest = {moment: max(part[moment] for part in parts) for moment in MOMENTS}
    return parts[0] | largest | {"cpu": sum(part["cpu"] for part in parts)}


def evaluate(model: str | None, data: Path, threads: int, out: Path) -> None:
    """What each process does: evaluate, and write what it took to OUT/RANK."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    detector, dataset = opened(model, data)
    rank, size = sharding.world()
    watched, meter = Watched(detector, len(dataset.images) // size), MemoryMeter().start()
    began, cpu = time.perf_counter(), time.process_time()
    result = accuracy.measure(watched, dataset, workers=threads, progress=False)  # type: ignore[arg-type]
    facts: dict[str, Any] = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}
    facts |= dict(zip(MOMENTS, [*watched.sizes, meter.read()["resident_peak_mib"]]))
    (out / str(rank)).write_text(json.dumps(facts | {"metrics": result.metrics if result else None}))


def opened(model: str | None, data: Path) -> tuple[Any, Dataset]:
    """The detector and its dataset."""
    if model is None:
        return stand_in.StandIn(), stand_in.opened(data)
    network = zoo.load(model).eval()
    return network, open_dataset("demo", data, MetricConfig(tuple(network.classes or ()), ("box",)))


class Watched:
    """A detector that notes the process's resident size after a tenth, half and all of `count` images."""

    def __init__(self, detector: Any, count: int) -> None:
        self.detector, self.preprocess = detector, detector.preprocess
        self.moments, self.calls = [max(count // 10, 1), max(count // 2, 1), count], 0
        self.sizes: list[float] = []

    def detect_sample(self, sample: Sample, home: Tensor) -> Detections:
        """One preprocessed image."""
        detections = self.detector.detect_sample(sample, home)
        self.calls += 1
        self.sizes += [resident_mib()] * self.moments.count(self.calls)
        return detections


if __name__ == "__main__":
    main()
