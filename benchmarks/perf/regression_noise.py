"""Does the regression check cry wolf, and does it catch what it should, on this machine as noisy as it is?

    python -m benchmarks.perf.regression_noise [--runs 50] [--iterations 100] [--slowdown 1.15]

A small detector-like workload is measured as `bench inference` measures one, again and again: unchanged, and with so
much more to do. Prints how many of the unchanged runs were called a regression, and how many of the slowed ones, and
the same for a drop of 0.1 AP. Exit status 1 if any verdict was wrong.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace

import torch
from torch.nn.functional import conv2d, relu
from tqdm import tqdm

from benchmarks import baseline, regression
from benchmarks.protocols import steady
from benchmarks.record import Record

CPU = torch.device("cpu")
QUICK = {"min_seconds": 0.0, "warmup_seconds": 2.0, "loaded": 1}


class Small:
    """A chain of convolutions, `slowdown` times as long as the unchanged one."""

    batch = 1

    def __init__(self, slowdown: float) -> None:
        self.image = torch.rand(1, 32, 64, 96)
        self.weight = torch.rand(32, 32, 3, 3) / 288
        self.rounds = round(20 * slowdown)

    def __len__(self) -> int:
        return 1

    def load(self, index: int) -> torch.Tensor:
        """The input."""
        return self.image

    @torch.inference_mode()
    def compute(self, batch: torch.Tensor) -> torch.Tensor:
        """The work: `rounds` equal steps."""
        x = batch
        for _ in range(self.rounds):
            x = relu(conv2d(x, self.weight, padding=1)) + x
        return x

    def evaluate(self, results: torch.Tensor) -> torch.Tensor:
        """Nothing to turn into rows."""
        return results


def measure(slowdown: float, iterations: int) -> Record:
    """A record as `bench inference` makes it."""
    parameters = steady.PROTOCOL.parameters({**QUICK, "min_iterations": iterations})
    found = steady.measure(Small(slowdown), CPU, **parameters)
    return Record("small", "inference", "steady", metrics=found.metrics, samples=found.samples)


def accuracy(ap: float) -> Record:
    """A record of a box AP, as a fraction."""
    return Record("small", "accuracy", "coco", metrics={"box_ap": ap})


def alarms(expected: baseline.Baseline, make: Callable[[], Record], runs: int, title: str) -> int:
    """In how many of the runs the check fails."""
    checks = (regression.check(expected, [make()]) for _ in tqdm(range(runs), desc=title, disable=None))
    return sum(any(finding.fails for finding in found) for found in checks)


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--slowdown", type=float, default=1.15)
    args = parser.parse_args()
    torch.set_num_threads(1)
    speed = baseline.make([measure(1.0, args.iterations)])
    ap = baseline.make([accuracy(0.374)])
    results = {
        "unchanged speed": (alarms(speed, lambda: measure(1.0, args.iterations), args.runs, "unchanged"), 0),
        f"{args.slowdown:g} times slower": (
            alarms(speed, lambda: measure(args.slowdown, args.iterations), args.runs, "slower"),
            args.runs,
        ),
        "unchanged AP": (alarms(ap, lambda: accuracy(0.374), args.runs, "same AP"), 0),
        "AP lower by 0.1": (alarms(ap, lambda: replace(accuracy(0.373)), args.runs, "lower AP"), args.runs),
    }
    for name, (count, wanted) in results.items():
        print(f"{name}: {count} alarms in {args.runs} runs ({wanted} wanted)")
    return int(any(count != wanted for count, wanted in results.values()))


if __name__ == "__main__":
    sys.exit(main())
