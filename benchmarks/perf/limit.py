"""The share of the machine's limit that detectors reach on a CPU, by instruction set and threads.

    python -m benchmarks.perf.limit [-k retinanet] [--threads 1,2] [--runs 3] [--json]

Each line is the run with the median share of several, with the shares of all. A run is one of `bench inference
--roofline` in a process of its own, with random weights that detect something and a generated image of 480 x 640 at the
size that the model is published for. Wanted: at least 70% for detectors with ResNet-50 in float32.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

from benchmarks.perf.cpu_paths import INSTRUCTIONS, conditions
from benchmarks.perf.printed import rows_here
from zoo import settings
from zoo.system.allocator import keep_memory

MODELS = (
    "faster_rcnn_r50_fpn_1x_coco",
    "mask_rcnn_r50_fpn_1x_coco",
    "retinanet_r50_fpn_1x_coco",
    "fcos_r50_caffe_fpn_gn-head_1x_coco",
    "detr_r50_8x2_150e_coco",
    "ssd300_coco",
    "yolox_s_8x8_300e_coco",
)


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("-k", default="", help="only models whose name contains this")
    parser.add_argument("--threads", default="1,2", help="numbers of threads, separated by commas")
    parser.add_argument("--instructions", default=",".join(conditions()), help="of native, avx2 (%(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="of each model, an odd number (%(default)s)")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.runs < 1:
        parser.error("--runs: at least one")
    if args.child:
        if not settings.returns_memory():  # as the command does
            keep_memory()
        print(json.dumps([measured(name, int(args.threads)) for name in MODELS if args.k in name]))
        return
    rows = list(collected(args))
    print(rows_here(rows if args.json else [line(row) for row in rows], args.json, style="github"))


def collected(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The rows of all conditions. Their runs take turns, so that a disturbance is not in all runs of one model."""
    keys = list(product(args.instructions.split(","), args.threads.split(",")))
    runs = [[row for key in keys for row in run(*key, args.k)] for _ in range(args.runs)]
    for rows in zip(*runs, strict=True):
        yield median_run(rows)


def run(instructions: str, threads: str, pattern: str) -> list[dict[str, Any]]:
    """One run of the models whose name contains `pattern`, in a process of its own."""
    words = [sys.executable, "-P", "-m", "benchmarks.perf.limit", "--child", "--threads", threads, "-k", pattern]
    environment = {**os.environ, **INSTRUCTIONS[instructions]}
    done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def median_run(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of the same measurement, the one with the median share (of an even number, the lower one), and all shares."""
    ordered = sorted(rows, key=lambda row: row["share"])
    return {**ordered[(len(ordered) - 1) // 2], "shares": [row["share"] for row in rows]}


def measured(name: str, threads: int) -> dict[str, Any]:
    """One model under the conditions of this process."""
    import torch

    from benchmarks.speed.compare_config import CompareConfig
    from benchmarks.speed.contestants import network
    from benchmarks.speed.images import generated
    from benchmarks.speed.roofline import limit
    from benchmarks.speed.workload import DetectorWorkload

    torch.set_num_threads(threads)
    source = generated(1)
    model, _ = network(CompareConfig(name, [], source))
    result = limit.of(DetectorWorkload(model.eval(), source)).to_dict()
    return {"model": name, "instructions": torch.backends.cpu.get_cpu_capability(), "threads": threads, **result}


def line(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the table."""
    worst = "; ".join(f"{one['name']} {1000 * (one['seconds'] - one['limit']):.0f} ms" for one in row["worst"][:3])
    return {
        "model": row["model"],
        "instructions": row["instructions"],
        "threads": row["threads"],
        "ms": round(1000 * row["seconds"], 1),
        "limit, ms": round(1000 * row["limit"], 1),
        "share": f"{row['share']:.0%}",
        "of all runs": ", ".join(f"{share:.0%}" for share in row["shares"]),
        "lost most by": worst,
    }


if __name__ == "__main__":
    main()
