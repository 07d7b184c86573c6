"""Does the regression check cry wolf, and does it catch what it should, on this machine as noisy as it is?

    python -m benchmarks.perf.regression_noise [--runs 50] [--processes 3] [--iterations 6] [--busy 2]

A detector of the zoo (YOLOX-tiny with random weights, on a small generated image) is measured as `bench inference`
measures one, several times for each check, each time in a process of its own, since two processes differ in more than
the noise within one. Every process takes it in turns with one that has so much more to do. A call is ROUNDS passes, so
that a slower one is just more passes. `--busy` processes disturb the machine meanwhile, each computing and pausing at
random. Prints how many of the unchanged runs were called a regression, and how many of the slowed ones, and the same
for a drop of 0.1 AP. Exit status 1 if any verdict was wrong.
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
from benchmarks.results import baseline, regression
from benchmarks.results.baseline import Baseline
from benchmarks.results.record import Record
from benchmarks.speed import images
from benchmarks.speed.protocols import interleaved
from benchmarks.speed.protocols.table import INTERLEAVED
from benchmarks.speed.workload import Batch, DetectorWorkload, Workload
from benchmarks.system import environment
from benchmarks.system.calibration import Calibration
from benchmarks.system.timing import Timed
from zoo.cli.argument_types import positive
from zoo.structures import Sample

MODEL, SIZE = "yolox_tiny_8x8_300e_coco", (128, 160)
ROUNDS = 13
QUICK = {"min_seconds": 0.0, "warmup_seconds": 2.0, "lap_calls": 2, "loaded": 1}
SPAWN = multiprocessing.get_context("spawn")


class Repeated(DetectorWorkload):
    """`rounds` passes of the network in one call."""

    rounds = ROUNDS

    def compute(self, batch: Batch) -> list[Any]:
        """The last pass's detections."""
        result: list[Any] = []
        for _ in range(self.rounds):
            result = super().compute(batch)
        return result


def measure(slowdown: float, iterations: int) -> list[Record]:
    """Records as `bench inference` makes them: of a detector, and of one that has `slowdown` times as much to do."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, device = zoo.build(MODEL), torch.device("cpu")
    model.preprocess = unscaled
    same, slower = (Repeated(model, images.generated(1, SIZE)) for _ in range(2))
    slower.rounds = round(ROUNDS * slowdown)
    parameters = INTERLEAVED.parameters(QUICK | {"min_iterations": iterations})
    del parameters["calibrate"]
    workloads: dict[str, Workload] = {"same": same, "calibration": Calibration(device), "slower": slower}
    timings = interleaved.interleave(workloads, device, interleaved.Schedule(**parameters))
    return [record(timings[name], timings["calibration"]) for name in ("same", "slower")]


def unscaled(image: np.ndarray) -> Sample:
    """A BGR image of SIZE in its own size; this network takes pixels as they are."""
    return Sample(torch.from_numpy(image.transpose(2, 0, 1)).float(), SIZE, (1.0, 1.0), SIZE)


def record(calls: list[Timed], calibration: list[Timed]) -> Record:
    """A record of these calls."""
    measured = interleaved.measurement(calls, batch=1)
    interleaved.add_calibration(measured, calibration)
    return Record(MODEL, "inference", "interleaved", samples=measured.samples, environment=environment.describe("cpu"))


def measure_apart(count: int, *args: Any) -> list[list[Record]]:
    """`measure` in so many fresh processes, one after another: all records of the one detector, all of the other."""
    result = []
    for _ in range(count):
        with SPAWN.Pool(1) as pool:
            result.append(pool.apply(measure, args))
    return [list(records) for records in zip(*result)]


def accuracy(ap: float) -> Record:
    """A record of a box AP, as a fraction."""
    return Record(MODEL, "accuracy", "coco", metrics={"box_ap": ap})


def disturb() -> None:
    """Compute for a while, pause for a while, for ever: a neighbor on the same cores."""
    matrix = np.ones((256, 256))
    while True:
        end = time.monotonic() + random.uniform(0.05, 2.0)
        while time.monotonic() < end:
            matrix @ matrix
        time.sleep(random.uniform(0.05, 2.0))


@contextmanager
def neighbors(count: int) -> Iterator[None]:
    """So many disturbing processes."""
    busy = [SPAWN.Process(target=disturb, daemon=True) for _ in range(count)]
    for process in busy:
        process.start()
    try:
        yield
    finally:
        for process in busy:
            process.kill()


class Tally:
    """Counts the checks of one kind that failed, and shows each on stderr."""

    def __init__(self, title: str, expected: Baseline, wanted: int) -> None:
        self.title, self.expected, self.wanted, self.alarms = title, expected, wanted, 0

    def check(self, records: list[Record]) -> None:
        """One check."""
        result = regression.check(self.expected, records)
        self.alarms += any(finding.fails for finding in result)
        tqdm.write(f"{self.title}: {'; '.join(f'{f.verdict}, {f.detail}' for f in result)}", file=sys.stderr)


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=positive, default=50)
    parser.add_argument("--processes", type=positive, default=3, help="measurements of each check (%(default)s)")
    parser.add_argument("--iterations", type=positive, default=6, help="timed calls of each process (%(default)s)")
    parser.add_argument("--slowdown", type=float, default=1.15)
    parser.add_argument("--busy", type=int, default=2, help="disturbing processes (%(default)s)")
    return parser.parse_args()


def main() -> int:
    """Run and print."""
    args = parse()
    effort = (args.slowdown, args.iterations)
    with neighbors(args.busy):
        speed, ap = baseline.make(measure_apart(baseline.RUNS, *effort)[0]), baseline.make([accuracy(0.374)])
        tallies = [
            Tally("unchanged speed", speed, 0),
            Tally(f"{args.slowdown:g} times slower", speed, args.runs),
            Tally("unchanged AP", ap, 0),
            Tally("AP lower by 0.1", ap, args.runs),
        ]
        for _ in tqdm(range(args.runs), disable=None):
            records = [*measure_apart(args.processes, *effort), [accuracy(0.374)], [accuracy(0.373)]]
            for tally, result in zip(tallies, records):
                tally.check(result)
    for tally in tallies:
        print(f"{tally.title}: {tally.alarms} alarms in {args.runs} runs ({tally.wanted} wanted)")
    return int(any(tally.alarms != tally.wanted for tally in tallies))


if __name__ == "__main__":
    sys.exit(main())
