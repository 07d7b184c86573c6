"""The harness's own cost: each protocol's loop against a bare loop over the same network and inputs.

    python -m benchmarks.perf.harness [NAME] [--device cpu] [--calls 10] [--rounds 15] [--json]

Both run in turns, on inputs that are preprocessed and in memory. Reported are the median seconds of a call in the bare
loop and under the protocol, everything that the protocol does around its calls included, and the median of the rounds'
ratios less one: of processor time, which a busy machine disturbs least, with its 95% confidence interval, and of wall
clock time. Exit status 1 if the processor time of a protocol is surely more than 2% above the bare loop's.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch

import zoo
from benchmarks.reports.text_table import format_table
from benchmarks.speed import images, protocols
from benchmarks.speed.workload import DetectorWorkload
from benchmarks.system.timing import median_interval

NETWORK, LIMIT = "yolox_tiny_8x8_300e_coco", 0.02
# Protocol -> its parameters for a number of calls. "end-to-end" is left out: it takes a detector apart, so a bare
# loop does other work, and its records say themselves what share of the time no stage accounts for.
SHORT: dict[str, Callable[[int], dict[str, Any]]] = {
    "interleaved": lambda n: {
        "min_iterations": n,
        "min_seconds": 0,
        "warmup_seconds": 0,
        "lap_calls": 1,
        "calibrate": False,
    },
    "mmdet-v2": lambda n: {"max_iter": n, "num_warmup": 1, "log_interval": 0},
    "detectron2": lambda n: {"max_iter": n, "num_warmup": 1},
    "mlperf-singlestream": lambda n: {"min_queries": n, "min_seconds": 0},
    "mlperf-offline": lambda n: {"min_samples": n, "min_seconds": 0},
}


def main() -> int:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("name", nargs="?", default=NETWORK, help="a model or architecture (%(default)s)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--calls", type=int, default=10, help="of a round (%(default)s)")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.manual_seed(0)
    workload = Loaded(zoo.build(args.name).to(args.device), args.calls, torch.device(args.device))
    rows = [measure(name, workload, args.rounds) for name in SHORT]
    print(json.dumps(rows, indent=1) if args.json else format_table([shown(row) for row in rows]))
    return int(any(float(row["overhead_low"]) > LIMIT for row in rows))


class Loaded:
    """A workload of `calls` batches that are in memory; `compute` counts."""

    batch = 1

    def __init__(self, model: Any, calls: int, device: torch.device) -> None:
        self.workload = DetectorWorkload(model, images.generated(2), device)
        self.batches = [self.workload.load(i % 2) for i in range(calls)]
        self.calls = 0

    def __len__(self) -> int:
        return len(self.batches)

    def load(self, index: int) -> Any:
        """A batch."""
        return self.batches[index]

    def compute(self, batch: Any) -> Any:
        """Detections."""
        self.calls += 1
        return self.workload.compute(batch)

    def evaluate(self, results: Any) -> None:
        """Nothing."""

    def bare(self) -> int:
        """What a loop without a harness does; the number of calls."""
        model, device = self.workload.model, self.workload.device
        with torch.inference_mode():
            for batch in self.batches:
                geometries = [sample.geometry for sample in batch.samples]
                [detections.to("cpu") for detections in model.predict(batch.images.to(device), geometries)]
        return len(self.batches)

    def under(self, name: str) -> int:
        """The same under a protocol."""
        self.calls = 0
        protocols.run(protocols.get(name), self, self.workload.device, overrides=SHORT[name](len(self)))
        return self.calls


def measure(name: str, workload: Loaded, rounds: int) -> dict[str, float | str]:
    """One protocol's row; seconds per call."""
    ways: dict[str, Callable[[], int]] = {"bare": workload.bare, "protocol": lambda: workload.under(name)}
    times: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    workload.bare()
    for turn in range(rounds):
        for way in list(ways)[:: 1 if turn % 2 == 0 else -1]:
            times[way].append(seconds(ways[way]))
    pairs = list(zip(times["bare"], times["protocol"]))
    ratios = [theirs[0] / bare[0] for bare, theirs in pairs]
    low, high = median_interval(ratios)
    return {
        "protocol": name,
        **{f"{way}_s": median(wall for _, wall in values) for way, values in times.items()},
        "overhead": median(ratios) - 1,
        "overhead_low": low - 1,
        "overhead_high": high - 1,
        "overhead_wall": median(theirs[1] / bare[1] for bare, theirs in pairs) - 1,
    }


def seconds(run: Callable[[], int]) -> tuple[float, float]:
    """Processor and wall clock time per call."""
    cpu, wall = time.process_time(), time.perf_counter()
    calls = run()
    return (time.process_time() - cpu) / calls, (time.perf_counter() - wall) / calls


def shown(row: dict[str, Any]) -> dict[str, object]:
    """A row of the table."""
    return {
        "protocol": row["protocol"],
        "bare loop, ms": f"{1000 * row['bare_s']:.2f}",
        "protocol, ms": f"{1000 * row['protocol_s']:.2f}",
        "overhead": f"{row['overhead']:+.2%} ({row['overhead_low']:+.2%} to {row['overhead_high']:+.2%})",
        "of wall clock": f"{row['overhead_wall']:+.2%}",
    }


if __name__ == "__main__":
    sys.exit(main())
