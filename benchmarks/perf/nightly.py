"""What a nightly accuracy run of the whole zoo takes on a number of GPUs, from the measured cost of each model.

    python -m benchmarks.perf.nightly [--gpus 64] [--results results.db] [--device NAME] [--fixed 40] [--json]

A model's seconds per image are those of its newest record in the result store (`bench inference`, one image at a
time, float32, on `--device` if that is given); else the reference's published speed, measured on a V100; else the
median of its family, else of all. A job is that times the images of its dataset plus `--fixed` seconds for loading,
building and evaluating. Rows are placed on GPUs as they become free: in alphabetical order, longest first, and longest
first with jobs above `--split` minutes dealt out to several processes. Reading and resizing of images is taken to
keep up; docs/scale.md says what that needs.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import zoo
from benchmarks.results.store import Store
from benchmarks.sweep.cost import COCO, IMAGES, Cost, costs_of, measured
from zoo.manifest.entry import Entry


def main() -> None:
    """Compute, and print the table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--gpus", type=int, default=64)
    parser.add_argument("--results", metavar="FILE")
    parser.add_argument("--device", metavar="NAME", help="part of the device's name in the records")
    parser.add_argument("--fixed", type=float, default=40.0, metavar="S", help="seconds per job beside the images")
    parser.add_argument("--split", type=float, default=20.0, metavar="MIN", help="jobs above this are dealt out")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    entries = [zoo.get(name) for name in zoo.list_models()]
    records = Store(args.results).select(kind="inference", status="ok", samples=False)
    costs = costs_of(entries, measured(records, args.device))
    result = night(entries, costs, args.gpus, args.fixed, 60 * args.split)
    lines = [f"{key:48} {value}" for key, value in result.items()]
    print(json.dumps(result, indent=1) if args.json else "\n".join(lines))


def night(entries: Sequence[Entry], costs: Mapping[str, Cost], gpus: int, fixed: float, split: float) -> dict[str, Any]:
    """Hours by order of the jobs, with what they are made of."""
    jobs = {e.name: costs[e.name].seconds * IMAGES.get(e.dataset, COCO) + fixed for e in entries}
    shares = [part for seconds in jobs.values() for part in dealt_out(seconds, fixed, split)]
    longest = max(jobs, key=lambda name: jobs[name])
    sources = Counter(cost.source for cost in costs.values())
    return {
        "models": len(jobs),
        "cost from": ", ".join(f"{source} {count}" for source, count in sources.most_common()),
        "ms per image: median, 90th percentile": percentiles([1000 * cost.seconds for cost in costs.values()]),
        "images, millions": round(sum(IMAGES.get(e.dataset, COCO) for e in entries) / 1e6, 2),
        "GPU hours": round(sum(jobs.values()) / 3600, 1),
        "hours if evenly spread": round(sum(jobs.values()) / 3600 / gpus, 2),
        "hours, alphabetical": round(makespan(list(jobs.values()), gpus) / 3600, 2),
        "hours, longest first": round(makespan(sorted(jobs.values(), reverse=True), gpus) / 3600, 2),
        "hours, longest first, long jobs dealt out": round(makespan(sorted(shares, reverse=True), gpus) / 3600, 2),
        "longest job": f"{longest}, {jobs[longest] / 3600:.2f} h",
        "jobs over an hour": sum(seconds > 3600 for seconds in jobs.values()),
    }


def dealt_out(seconds: float, fixed: float, split: float) -> list[float]:
    """A job's parts when the images of a long one are shared by several processes."""
    parts = max(math.ceil((seconds - fixed) / split), 1)
    return [(seconds - fixed) / parts + fixed] * parts


def makespan(jobs: Sequence[float], gpus: int) -> float:
    """Seconds until the last job ends, each starting on the GPU that is free first."""
    free = [0.0] * gpus
    for seconds in jobs:
        heapq.heapreplace(free, free[0] + seconds)
    return max(free)


def percentiles(values: Sequence[float]) -> str:
    """The median and the 90th percentile."""
    ordered = sorted(values)
    return f"{median(ordered):.0f}, {ordered[int(0.9 * len(ordered))]:.0f}"


if __name__ == "__main__":
    main()
