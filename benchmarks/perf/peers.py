"""Our detectors against torchvision's, transformers' and other runtimes, by instruction set and threads.

    python -m benchmarks.perf.peers [-k mask] [--threads 1,2] [--calls 10] [--images 2] [--results FILE] [--json]

Each line is one run of `bench compare` in a process of its own, equal weights and inputs, call by call in turns. The
ratio is seconds of the other over seconds of ours, above 1 where ours is faster, with the 95% interval of its median;
empty where the detections of both do not agree. Every instruction set that this processor has is tried: `native`, and
`avx2` (ATen, oneDNN and MKL held to AVX2). Wanted: at least 1.1 eager, at least 1.5 with options that change no
detection.
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
from benchmarks.reports.text_table import format_table
from benchmarks.results.record import Record


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
    for instructions in args.instructions.split(","):
        for threads in args.threads.split(","):
            for pair in PAIRS:
                if args.k in pair.name:
                    yield from run(pair, instructions, threads, args, store)


def run(pair: Pair, instructions: str, threads: str, args: argparse.Namespace, store: str) -> list[Record]:
    """One comparison in a process of its own; nothing where it fails, which its own message tells."""
    words, environment = command(pair, threads, args, store), {**os.environ, **INSTRUCTIONS[instructions]}
    done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, text=True)
    return [Record.from_dict(record) for record in json.loads(done.stdout)] if done.returncode == 0 else []


def command(pair: Pair, threads: str, args: argparse.Namespace, store: str) -> list[str]:
    """`bench compare` of a pair, as short as the calls allow."""
    settings = {"min_iterations": args.calls, "min_seconds": 0, "warmup_seconds": 1, "lap_calls": 1, "max_seconds": 600}
    words = [sys.executable, "-P", "-m", "benchmarks", "compare", pair.name, "--against", pair.against, *pair.options]
    words += [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    return [*words, "--limit", str(args.images), "--threads", threads, "--no-memory", "--json", "--results", store]


def table(records: Sequence[Record]) -> list[dict[str, Any]]:
    """A line for each peer: ours against it, plain and with options, from the same run."""
    rows: list[dict[str, Any]] = []
    faster = 1.0
    for record in records:
        if not record.ok:
            rows.append({"detector": record.model, "against": record.parameters.get("peer"), "remark": record.reason})
        elif record.parameters.get("peer") is not None:
            rows.append(row(record, faster))
        else:  # ours come first in a run, plain and then with options
            faster = record.metrics.get("speedup", 1.0) if record.parameters.get("options") else 1.0
    return rows


def row(record: Record, faster: float) -> dict[str, Any]:
    """One peer's line. faster: how many times as fast as plain our options are."""
    m, host = record.metrics, record.environment["host"]
    result = {
        "detector": record.model,
        "against": record.parameters["peer"],
        "instructions": host["vector_units"],
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
        "with options": f"{faster / m['speedup']:.2f}",
    }


if __name__ == "__main__":
    main()
