"""Our detectors against torchvision's, transformers' and other runtimes, by instruction set and threads.

    python -m benchmarks.perf.peers [-k mask] [--threads 1,2] [--calls 10] [--images 2] [--results FILE] [--json]

Each line is one run of `bench compare` in a process of its own, equal weights and inputs, call by call in turns. The
ratio is seconds of the other over seconds of ours, above 1 where ours is faster, with the 95% interval of its median;
empty where the detections of both do not agree; `at its best` is the same with our options that change no detection, or
with our exported network in the fastest runtime (`bench inference --runtime auto`). Every instruction set that this
processor has is tried: `native`, and `avx2` (ATen, oneDNN and MKL held to AVX2; runtimes cannot be held, so they do not
count there). Wanted: at least 1.1 eager, at least 1.5 with options that change no detection.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.perf.cpu_paths import INSTRUCTIONS, conditions
from benchmarks.reports.peers import chooses_itself, instructions
from benchmarks.reports.text_table import format_table
from benchmarks.results.record import Record
from benchmarks.speed.peers.names import RUNTIMES


class Pair(NamedTuple):
    """A detector and what it is compared with; options that change no detection."""

    name: str
    against: str
    options: tuple[str, ...] = ("--fuse-conv-bn",)


TORCHVISION = "torchvision,onnxruntime,openvino"

PAIRS = (
    Pair("torchvision/fasterrcnn_resnet50_fpn", TORCHVISION),
    Pair("torchvision/maskrcnn_resnet50_fpn", TORCHVISION),
    Pair("torchvision/retinanet_resnet50_fpn", TORCHVISION),
    Pair("torchvision/fcos_resnet50_fpn", TORCHVISION),
    Pair("torchvision/ssd300_vgg16", TORCHVISION, ()),
    Pair("detr_r50_8x2_150e_coco", "transformers,onnxruntime,openvino"),
    Pair("yolox_s_8x8_300e_coco", "onnxruntime,openvino"),
    Pair("retinanet_r50_fpn_1x_coco", "onnxruntime,openvino"),
)


def main() -> None:
    """Measure every pair under every condition, and print a table or the records."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("-k", default="", help="only detectors whose name contains this")
    parser.add_argument("--threads", default="1,2", help="numbers of threads, separated by commas")
    parser.add_argument("--instructions", default=",".join(conditions()), help="of native, avx2 (%(default)s)")
    parser.add_argument("--calls", type=int, default=10, help="timed calls of each (%(default)s)")
    parser.add_argument("--images", type=int, default=2, help="generated images (%(default)s)")
    parser.add_argument("--results", metavar="FILE", help="result store that keeps the records")
    parser.add_argument("--json", action="store_true", help="print the records")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        records = list(measured(args, args.results or str(Path(folder) / "results.db")))
    print(json.dumps([record.to_dict() for record in records], indent=1) if args.json else format_table(table(records)))


def measured(args: argparse.Namespace, store: str) -> Iterator[Record]:
    """The records of all runs, those of a run together."""
    for isa in args.instructions.split(","):
        for threads in args.threads.split(","):
            for pair in PAIRS:
                if args.k in pair.name:
                    yield from run(pair, isa, threads, args, store)


def run(pair: Pair, isa: str, threads: str, args: argparse.Namespace, store: str) -> list[Record]:
    """One comparison in a process of its own; nothing where it fails, which is said."""
    words, environment = command(pair, threads, args, store), {**os.environ, **INSTRUCTIONS[isa]}
    done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        print(f"peers: {pair.name} ended with status {done.returncode}", file=sys.stderr)
        return []
    return [Record.from_dict(record) for record in json.loads(done.stdout)]


def command(pair: Pair, threads: str, args: argparse.Namespace, store: str) -> list[str]:
    """`bench compare` of a pair, as short as the calls allow."""
    settings = {"min_iterations": args.calls, "min_seconds": 0, "warmup_seconds": 1, "lap_calls": 1, "max_seconds": 600}
    words = [sys.executable, "-P", "-m", "benchmarks", "compare", pair.name, "--against", pair.against, *pair.options]
    words += [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    return [*words, "--limit", str(args.images), "--threads", threads, "--no-memory", "--json", "--results", store]


def table(records: Sequence[Record]) -> list[dict[str, Any]]:
    """A line for each peer: ours against it, plain and with what changes no detection, from the same run.

    That is our options, or our exported network in the fastest runtime, whichever is faster.
    """
    return [line for run in runs(records) for line in lines(run)]


def runs(records: Sequence[Record]) -> list[list[Record]]:
    """The records by run; ours come first in each, plain and then with options."""
    result: list[list[Record]] = []
    for record in records:
        if not result or (record.parameters.get("peer") is None and not record.parameters.get("options")):
            result.append([])
        result[-1].append(record)
    return result


def lines(run: Sequence[Record]) -> list[dict[str, Any]]:
    """The lines of one run."""
    own = [record for record in run if record.ok and is_ours(record)]
    faster = max((record.metrics.get("speedup", 1.0) for record in own), default=1.0)
    peers = [record for record in run if record.parameters.get("peer") is not None]
    return [row(record, faster) if record.ok else refused(record) for record in peers]


def is_ours(record: Record) -> bool:
    """Whether it is our network under the conditions of the run: plain, with options, or exported."""
    return record.parameters.get("peer") in (None, *RUNTIMES) and not chooses_itself(record)


def refused(record: Record) -> dict[str, Any]:
    """The line of a peer that was not measured."""
    return {"detector": record.model, "against": record.parameters.get("peer"), "remark": record.reason}


def row(record: Record, faster: float) -> dict[str, Any]:
    """One peer's line. faster: how many times as fast as plain ours is at its best."""
    m = record.metrics
    result = {
        "detector": record.model,
        "against": record.parameters["peer"],
        "instructions": instructions(record),
        "threads": record.parameters.get("threads"),
        "theirs, ms": round(m["latency_ms_p50"], 1),
        "samples": m["samples"],
    }
    if "speedup" not in m:
        return {**result, "remark": record.parameters.get("remark")}
    low, high = 1 / m["speedup_high"], 1 / m["speedup_low"]
    return {
        **result,
        "ours is faster by": f"{1 / m['speedup']:.2f}",
        "95% interval": f"{low:.2f} to {high:.2f}",
        "at its best": f"{faster / m['speedup']:.2f}",
    }


if __name__ == "__main__":
    main()
