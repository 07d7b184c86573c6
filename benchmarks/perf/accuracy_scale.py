"""`bench accuracy` on many generated pictures: is memory flat, and do loader threads and processes make it faster?

    python -m benchmarks.perf.accuracy_scale [--pictures 500] [--model demo_atss] [--processes 2] [--json]

The pictures are the demonstration's, generated anew. Each way of running evaluates all of them in processes of its own,
with one thread for PyTorch in each, so that what is gained comes from loader threads or processes. Growth: resident MiB
in the last fifth of the run less those in its second fifth, for the largest process. All ways must give the same
numbers. At full size, `--pictures 5000`, goal: growth below 10% of the resident size, and two processes on two idle
cores at least 1.7 times as fast as one.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch

import zoo
from benchmarks import accuracy, sharding
from benchmarks.datasets import Request, demo, open_dataset
from benchmarks.memory import MIB

EVERY = 0.1  # seconds between two looks at the resident size


def main() -> None:
    """Measure, and print the table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--model", default="demo_atss")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", nargs=3, metavar=("DATA", "THREADS", "OUT"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        evaluate(args.model, Path(args.child[0]), int(args.child[1]), Path(args.child[2]))
        return
    result = measure(args.model, args.pictures, args.processes)
    print(
        json.dumps(result, indent=1) if args.json else "\n".join(f"{key:52} {value}" for key, value in result.items())
    )


def measure(model: str, pictures: int, processes: int) -> dict[str, Any]:
    """Pictures per second, the ratio to a single plain process, growth and peak of each way of running."""
    result: dict[str, Any] = {"pictures": pictures, "cores": len(os.sched_getaffinity(0))}
    with tempfile.TemporaryDirectory() as folder:
        data = demo.write(Path(folder) / "data", {"val": pictures})
        ways = {"1 process": (1, 0), "1 process, 1 loader thread": (1, 1), f"{processes} processes": (processes, 0)}
        found = {title: run(model, data, *way) for title, way in ways.items()}
    plain = found["1 process"]["seconds"]
    for title, one in found.items():
        result[f"{title}: pictures per s"] = round(pictures / one["seconds"], 1)
        result[f"{title}: ratio to 1 process"] = round(plain / one["seconds"], 2)
        result[f"{title}: growth, MiB"] = round(one["growth"], 1)
        result[f"{title}: peak, MiB"] = round(one["peak"])
    result["the same numbers in all"] = all(one["metrics"] == found["1 process"]["metrics"] for one in found.values())
    return result


def run(model: str, data: Path, processes: int, threads: int) -> dict[str, Any]:
    """One way of running: seconds and metrics of rank 0, growth and peak of the largest process."""
    out = Path(tempfile.mkdtemp(dir=data.parent))
    words = [sys.executable, "-m"]
    if processes > 1:
        words += ["torch.distributed.run", "--standalone", "--nproc_per_node", str(processes), "-m"]
    words += ["benchmarks.perf.accuracy_scale", "--model", model, "--child", str(data), str(threads), str(out)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"a run has failed: {done.stderr[-2000:]}")
    parts = [json.loads(path.read_text()) for path in sorted(out.iterdir())]
    return parts[0] | {name: max(part[name] for part in parts) for name in ("growth", "peak")}


def evaluate(model: str, data: Path, threads: int, out: Path) -> None:
    """What each process does: evaluate, and write what it took to OUT/RANK."""
    torch.set_num_threads(1)
    network, sizes, ended = zoo.load(model).eval(), list[float](), threading.Event()
    dataset = open_dataset("demo", data, Request(tuple(network.classes or ()), ("box",)))
    watcher = threading.Thread(target=watch, args=(sizes, ended))
    watcher.start()
    began = time.perf_counter()
    result = accuracy.measure(network, dataset, workers=threads, progress=False)
    seconds = time.perf_counter() - began
    ended.set()
    watcher.join()
    facts = {"seconds": seconds, "metrics": result.metrics if result else None}
    (out / str(sharding.world()[0])).write_text(json.dumps(facts | {"growth": growth(sizes), "peak": max(sizes)}))


def watch(sizes: list[float], ended: threading.Event) -> None:
    """Note the resident size again and again."""
    sizes.append(resident_mib())
    while not ended.wait(EVERY):
        sizes.append(resident_mib())


def resident_mib() -> float:
    """This process's resident size now (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MIB


def growth(sizes: list[float]) -> float:
    """From the second fifth of a run to the last, in MiB; what comes before is warming up."""
    fifth = max(len(sizes) // 5, 1)
    return median(sizes[-fifth:]) - median(sizes[fifth : 2 * fifth] or sizes)


if __name__ == "__main__":
    main()
