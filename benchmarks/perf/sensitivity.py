"""Which recorded values amplify rounding, so that another processor's kernels do not give them?

    python -m benchmarks.perf.sensitivity [--parity [NAME ...]] [--tests [PATH ...]] [-k EXPRESSION]
                                          [--conditions NAME ...] [--all] [--json] [--resume FILE]

Every record of `bench parity`, and every test, is tried under CONDITIONS that change no more than rounding does: noise
on the network's input, two threads, and the instructions of a processor without AVX-512, for ATen, oneDNN and MKL
alone and together. Each condition runs in a process of its own, since these libraries read their variables once.

A value is the part of its tolerance that a comparison takes: 0 is the recorded value itself, above 1 it fails. Of a
record this is the worst of the shares that decide whether it is equal; of a test the worst of its comparisons by
`pytest.approx`, `assert_close` and `allclose`; a failed test has infinity. What takes more than half of the room that
it leaves under the first condition amplifies. It needs other gains, a comparison in float64, or a tolerance that stands
on what is measured here. Prints what moves by a tenth of its tolerance or more; exit status 1 if something amplifies.

All of it takes hours. Records run from the smallest network to the largest; with `--resume FILE` each value is kept as
a line of JSON as soon as it is known, and a run that was stopped goes on where it was. `--tests recorded` are the files
of RECORDED_TESTS, those with values that a reference implementation computed.

`reports/sensitivity.jsonl` has all 282 records under the default, two threads, and AVX2 with noise,
`reports/sensitivity_tests.jsonl` the 234 tests of `--tests recorded`. They were measured on two cores of an AMD EPYC
(family 25, model 17, which has AVX-512) with PyTorch 2.14.1. Nothing in them amplifies.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, nullcontext, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks.parity import reference
from benchmarks.parity import run as parity
from benchmarks.parity.compare import TOLERANCES
from benchmarks.parity.run import SHARES
from benchmarks.perf.used_tolerance import Watch
from benchmarks.reports.text_table import format_table
from zoo.manifest import api
from zoo.models.detectors.base import Detector

SPAWN = multiprocessing.get_context("spawn")
# Of the input's values, about eight of float32's roundings; in float64 as many of its own.
NOISE = 1e-6
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}


class Condition(NamedTuple):
    """Variables of the process, and whether the networks' inputs get noise."""

    variables: Mapping[str, str]
    noise: bool = False


CONDITIONS = {
    "default": Condition(ONE_THREAD),
    "noise": Condition(ONE_THREAD, noise=True),
    "2 threads": Condition({"OMP_NUM_THREADS": "2"}),
    "AVX2": Condition(ONE_THREAD | AVX2),
    "AVX2, noise": Condition(ONE_THREAD | AVX2, noise=True),
    **{f"{name}={value}": Condition({**ONE_THREAD, name: value}) for name, value in AVX2.items()},
}
# Tests whose expected values were recorded from a reference implementation, or by the demonstration's baseline.
RECORDED_TESTS = (
    "tests/benchmarks/accuracy/test_accuracy.py::test_yolox_nano_on_coco38_gives_the_numbers_of_the_reference",
    "tests/benchmarks/cli/test_demo_baseline.py",
    "tests/benchmarks/datasets/test_lvis.py",
    "tests/benchmarks/datasets/test_reference_metrics.py",
    "tests/benchmarks/parity/test_parity.py",
    "tests/benchmarks/speed/peers/test_detectron2.py",
    "tests/zoo/models/criteria/test_reference_losses.py",
    "tests/zoo/models/test_detectron2_records.py",
    "tests/zoo/preprocessing/test_preprocess.py",
    "tests/zoo/training/test_soft_teacher.py",
)
Values = dict[str, float]


def main() -> int:
    """Try, and print a table or JSON."""
    args = parse()
    names = ["default", *(name for name in args.conditions if name != "default")]
    result = {name: values(args, name) for name in tqdm(names, desc="conditions", disable=None)}
    rows = [row(record, result) for record in result["default"]]
    moved = [r for r in rows if args.all or r["verdict"] != "steady" or spread(r, names) >= 0.1]
    print(json.dumps(moved, indent=1) if args.json else format_table([shown(r) for r in moved]))
    amplifying = sum(r["verdict"] != "steady" for r in rows)
    print(f"{amplifying} of {len(rows)} amplify rounding", file=sys.stderr)
    return int(amplifying > 0)


def parse() -> argparse.Namespace:
    """The options; what to try is everything unless it is said."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--parity", nargs="*", metavar="NAME", help="records of `bench parity`, all if none is named")
    parser.add_argument(
        "--tests", nargs="*", metavar="PATH", help="arguments for pytest, or `recorded`; tests/ if none is given"
    )
    parser.add_argument("-k", default="", help="only tests that match this expression of pytest")
    parser.add_argument("--conditions", nargs="+", choices=CONDITIONS, default=list(CONDITIONS), metavar="NAME")
    parser.add_argument("--all", action="store_true", help="also print what does not move")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--resume", type=Path, metavar="FILE", help="keep values here, and continue from them")
    args = parser.parse_args()
    if args.parity is None and args.tests is None:
        args.parity, args.tests = [], []
    return args


def values(args: argparse.Namespace, name: str) -> Values:
    """What every record and test that was asked for takes of its tolerance under a condition of this name."""
    result: Values = {}
    if args.parity is not None:
        records = smallest_first(args.parity or reference.names())
        known = kept(args.resume, name)
        result |= {record: known[record] for record in records if record in known}
        missing = [record for record in records if record not in known]
        result |= apart(of_parity, missing, name, args.resume) if missing else {}
    if args.tests is not None:
        paths = RECORDED_TESTS if args.tests == ["recorded"] else args.tests or ["tests"]
        result |= apart(of_tests, [*paths, "-k", args.k], name, args.resume)
    return result


def smallest_first(records: Sequence[str]) -> list[str]:
    """Records by their networks' parameters, so that most values are known early."""
    known = api.catalog().parameters
    parameters = {record: known[record].value for record in records if record in known}
    return sorted(records, key=lambda record: parameters.get(record, 0))


def kept(file: Path | None, condition: str) -> Values:
    """The values of a condition that a run before this one kept."""
    if file is None or not file.exists():
        return {}
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return {line["record"]: line["used"] for line in lines if line["condition"] == condition}


def keep(file: Path | None, condition: str, record: str, used: float) -> None:
    """Add a value to the file."""
    if file is not None:
        with file.open("a") as lines:
            lines.write(json.dumps({"condition": condition, "record": record, "used": used}) + "\n")


Work = Callable[[list[str], str, Path | None], Values]


def apart(work: Work, arguments: list[str], condition: str, file: Path | None) -> Values:
    """`work` in a fresh process with the condition's variables; one that may have children, as tests do."""
    with patch.dict(os.environ, CONDITIONS[condition].variables), ProcessPoolExecutor(1, SPAWN) as pool:
        return pool.submit(work, arguments, condition, file).result()


def of_parity(names: list[str], condition: str, file: Path | None) -> Values:
    """Records by their name."""
    result: Values = {}
    with noisy() if CONDITIONS[condition].noise else nullcontext():
        for name in tqdm(names, unit="network", disable=None):
            result[name] = of_record(name)
            keep(file, condition, name, result[name])
    return result


def of_record(name: str) -> float:
    """The worst of the shares of detections, masks, pixels and module outputs, and of the number of detections."""
    metrics, count = parity.check(name).metrics, reference.read(name).result.get("count") or 0
    room = 1 - TOLERANCES[None].share
    used = [(1 - metrics[share]) / room for share in SHARES if share in metrics]
    return max([*used, metrics.get("count_difference", 0) / max(2, 0.03 * count)])


def of_tests(arguments: list[str], condition: str, file: Path | None) -> Values:
    """Tests by their id; those that are skipped are left out."""
    import pytest

    watch = Watch(kept(file, condition), partial(keep, file, condition))
    with noisy() if CONDITIONS[condition].noise else nullcontext(), watch.comparisons(), redirect_stdout(sys.stderr):
        pytest.main(["-q", "--tb=no", "-p", "no:cacheprovider", *arguments], plugins=[watch])
    return watch.used


@contextmanager
def noisy() -> Iterator[None]:
    """All detectors get NOISE on their input, the same for inputs of one shape."""
    plain = Detector.features

    def features(self: Detector, images: Tensor) -> tuple[Tensor, ...]:
        return plain(self, images if torch.compiler.is_compiling() or torch.jit.is_tracing() else disturbed(images))

    with patch.object(Detector, "features", features):
        yield


def disturbed(images: Tensor) -> Tensor:
    """Images (N, 3, H, W) with normally distributed relative noise, scaled to the rounding of their type."""
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0)).to(images)
    return images * (1 + NOISE * torch.finfo(images.dtype).eps / torch.finfo(torch.float32).eps * noise)


def row(record: str, result: Mapping[str, Values]) -> dict[str, Any]:
    """One record's or test's values by condition, and the verdict."""
    used = {condition: of[record] for condition, of in result.items() if record in of}
    return {"record": record, **used, "verdict": verdict(used["default"], list(used.values()))}


def verdict(start: float, used: Sequence[float]) -> str:
    """Whether a value that takes `start` of its tolerance moves by more than half of what that leaves."""
    return "AMPLIFIES" if max(used) > 1 or max(used) - start > (1 - start) / 2 else "steady"


def spread(row: Mapping[str, Any], conditions: Sequence[str]) -> float:
    """How far a row's values are apart."""
    used = [row[name] for name in conditions if name in row]
    return max(used) - min(used) if math.isfinite(max(used)) else math.inf


def shown(row: Mapping[str, Any]) -> dict[str, object]:
    """A row of the table."""
    return {key: f"{value:.2g}" if isinstance(value, float) else value for key, value in row.items()}


if __name__ == "__main__":
    sys.exit(main())
