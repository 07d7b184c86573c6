"""What a nightly accuracy run of the whole zoo takes on a number of GPUs, from the measured cost of each model.

    python -m benchmarks.perf.nightly [--gpus 64] [--results results.db] [--device NAME] [--fixed 40] [--json]

A model's seconds per image are those of its newest record in the result store (`bench inference`, one image at a
time, float32, on `--device` if that is given); else the reference's published speed, measured on a V100; else the
median of its family, else of all. A row is that times the images of its dataset plus `--fixed` seconds for loading,
building and evaluating. Rows are placed on GPUs as they become free: in alphabetical order, longest first, and longest
first with rows above `--split` minutes dealt out to several processes. Reading and resizing of images is taken to
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
    parser.add_argument("--fixed", type=float, default=40.0, metavar="S", help="seconds per row beside the images")
    parser.add_argument("--split", type=float, default=20.0, metavar="MIN", help="rows above this are dealt out")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    entries = [zoo.get(name) for name in zoo.list_models()]
    records = Store(args.results).select(kind="inference", status="ok", samples=False)
    costs = costs_of(entries, measured(records, args.device))
    result = night(entries, costs, args.gpus, args.fixed, 60 * args.split)
    lines = [f"{key:48} {value}" for key, value in result.items()]
    print(json.dumps(result, indent=1) if args.json else "\n".join(lines))


def night(entries: Sequence[Entry], costs: Mapping[str, Cost], gpus: int, fixed: float, split: float) -> dict[str, Any]:
    """Hours by order of the rows, with what they are made of."""
    rows = {e.name: costs[e.name].seconds * IMAGES.get(e.dataset, COCO) + fixed for e in entries}
    shares = [part for seconds in rows.values() for part in dealt_out(seconds, fixed, split)]
    longest = max(rows, key=lambda name: rows[name])
    sources = Counter(cost.source for cost in costs.values())
    return {
        "models": len(rows),
        "cost from": ", ".join(f"{source} {count}" for source, count in sources.most_common()),
        "ms per image: median, 90th percentile": percentiles([1000 * cost.seconds for cost in costs.values()]),
        "images, millions": round(sum(IMAGES.get(e.dataset, COCO) for e in entries) / 1e6, 2),
        "GPU hours": round(sum(rows.values()) / 3600, 1),
        "hours if evenly spread": round(sum(rows.values()) / 3600 / gpus, 2),
        "hours, alphabetical": round(makespan(list(rows.values()), gpus) / 3600, 2),
        "hours, longest first": round(makespan(sorted(rows.values(), reverse=True), gpus) / 3600, 2),
        "hours, longest first, long rows dealt out": round(makespan(sorted(shares, reverse=True), gpus) / 3600, 2),
        "longest row": f"{longest}, {rows[longest] / 3600:.2f} h",
        "rows over an hour": sum(seconds > 3600 for seconds in rows.values()),
    }


def dealt_out(seconds: float, fixed: float, split: float) -> list[float]:
    """A row's parts when the images of a long one are shared by several processes."""
    parts = max(math.ceil((seconds - fixed) / split), 1)
    return [(seconds - fixed) / parts + fixed] * parts


def makespan(rows: Sequence[float], gpus: int) -> float:
    """Seconds until the last row ends, each starting on the GPU that is free first."""
    free = [0.0] * gpus
    for seconds in rows:
        heapq.heapreplace(free, free[0] + seconds)
    return max(free)


def percentiles(values: Sequence[float]) -> str:
    """The median and the 90th percentile."""
    ordered = sorted(values)
    return f"{median(ordered):.0f}, {ordered[int(0.9 * len(ordered))]:.0f}"


if __name__ == "__main__":
    main()
