"""Does the regression check cry wolf, and does it catch what it should, on this machine as noisy as it is?

    python -m benchmarks.perf.regression_noise [--runs 50] [--iterations 60] [--slowdown 1.15] [--busy 2]

A detector of the zoo (demo_yolox, on generated pictures) is measured as `bench inference` measures one, each time in a
process of its own, since two processes differ in more than the noise within one: unchanged, and with so much more to
do. A call is ROUNDS passes, so that a slower one is just more passes. `--busy` processes disturb the machine meanwhile,
each computing and pausing at random. Prints how many of the unchanged runs were called a regression, and how many of
the slowed ones, and the same for a drop of 0.1 AP. Exit status 1 if any verdict was wrong.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

import zoo
from benchmarks import baseline, environment, pictures, regression
from benchmarks.baseline import Baseline
from benchmarks.protocols import steady
from benchmarks.record import Record
from benchmarks.workload import Batch, DetectorWorkload

MODEL = "demo_yolox"
ROUNDS = 20
QUICK = {"min_seconds": 0.0, "warmup_seconds": 5.0, "loaded": 1}
SPAWN = multiprocessing.get_context("spawn")


class Repeated(DetectorWorkload):
    """`rounds` passes of the network in one call."""

    rounds = ROUNDS

    def compute(self, batch: Batch) -> list[Any]:
        """The last pass's detections."""
        found: list[Any] = []
        for _ in range(self.rounds):
            found = super().compute(batch)
        return found


def measure(slowdown: float, iterations: int) -> Record:
    """A record as `bench inference` makes it, of a detector that has `slowdown` times as much to do."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    workload = Repeated(zoo.build(MODEL), pictures.generated(1, (128, 160)))
    workload.rounds = round(ROUNDS * slowdown)
    found = steady.measure(
        workload, workload.device, **steady.PROTOCOL.parameters(QUICK | {"min_iterations": iterations})
    )
    return Record(MODEL, "inference", "steady", samples=found.samples, environment=environment.describe("cpu"))


def measure_apart(slowdown: float, iterations: int) -> Record:
    """`measure` in a fresh process."""
    with SPAWN.Pool(1) as pool:
        return pool.apply(measure, (slowdown, iterations))


def accuracy(ap: float) -> Record:
    """A record of a box AP, as a fraction."""
    return Record(MODEL, "accuracy", "coco", metrics={"box_ap": ap})


def disturb() -> None:
    """Compute for a while, pause for a while, for ever: a neighbour on the same cores."""
    matrix = np.ones((256, 256))
    while True:
        end = time.monotonic() + random.uniform(0.05, 2.0)
        while time.monotonic() < end:
            matrix @ matrix
        time.sleep(random.uniform(0.05, 2.0))


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    """So many disturbing processes."""
    busy = [SPAWN.Process(target=disturb, daemon=True) for _ in range(count)]
    for process in busy:
        process.start()
    try:
        yield
    finally:
        for process in busy:
            process.kill()


def alarms(expected: Baseline, records: Iterator[Record], runs: int, title: str) -> int:
    """In how many of the runs the check fails. Shows the factor of each on stderr."""
    count = 0
    for record in tqdm(records, total=runs, desc=title, disable=None):
        found = regression.check(expected, [record])
        count += any(finding.fails for finding in found)
        tqdm.write(f"{title}: {'; '.join(f'{f.verdict}, {f.detail}' for f in found)}", file=sys.stderr)
    return count


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--slowdown", type=float, default=1.15)
    parser.add_argument("--busy", type=int, default=2, help="disturbing processes (%(default)s)")
    return parser.parse_args()


def main() -> int:
    """Run and print."""
    args = parse()

    def speeds(slowdown: float, runs: int) -> Iterator[Record]:
        return (measure_apart(slowdown, args.iterations) for _ in range(runs))

    with neighbours(args.busy):
        speed, ap = baseline.make(speeds(1.0, 1)), baseline.make([accuracy(0.374)])
        same = (accuracy(0.374) for _ in range(args.runs))
        lower = (accuracy(0.373) for _ in range(args.runs))
        results = {
            "unchanged speed": (alarms(speed, speeds(1.0, args.runs), args.runs, "unchanged"), 0),
            f"{args.slowdown:g} times slower": (
                alarms(speed, speeds(args.slowdown, args.runs), args.runs, "slower"),
                args.runs,
            ),
            "unchanged AP": (alarms(ap, same, args.runs, "same AP"), 0),
            "AP lower by 0.1": (alarms(ap, lower, args.runs, "lower AP"), args.runs),
        }
    for name, (count, wanted) in results.items():
        print(f"{name}: {count} alarms in {args.runs} runs ({wanted} wanted)")
    return int(any(count != wanted for count, wanted in results.values()))


if __name__ == "__main__":
    sys.exit(main())
