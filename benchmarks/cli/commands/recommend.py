"""`zoo recommend`: the Pareto-best models under constraints."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict

from benchmarks.reports import recommend
from benchmarks.reports.recommend import METRICS_OF_TASK, Candidate, Constraints
from benchmarks.reports.text_table import format_table
from benchmarks.results.selection import entries_with
from benchmarks.results.store import Store
from zoo.errors import UsageError
from zoo.manifest import api

SECONDS = {"us": 1e-3, "ms": 1.0, "s": 1000.0}
BYTES = {"kib": 1 / 1024, "mib": 1.0, "gib": 1024.0, "kb": 1e3 / 2**20, "mb": 1e6 / 2**20, "gb": 1e9 / 2**20}
HERE = "this-machine"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("--task", default="object detection", help=f"one of {', '.join(METRICS_OF_TASK)} (%(default)s)")
    add("--dataset", default="coco_2017", help="dataset of the accuracies to compare (%(default)s)")
    add("--min-ap", type=float, metavar="X", help="lowest accuracy, in percent")
    add("--max-latency", metavar="T", help="of one image, such as 50ms")
    add("--max-memory", metavar="M", help="at inference, such as 2GiB; only measured models have it")
    numbers = parser.add_mutually_exclusive_group()
    help_text = f"only measurements on devices of this name, such as 'AMD EPYC'; {HERE} for those of this one"
    numbers.add_argument("--on", metavar="DEVICE", help=help_text)
    numbers.add_argument("--hardware", metavar="NAME", help="only published numbers of this hardware, such as V100")
    add("--results", metavar="FILE", help="result store (default: $ZOO_RESULTS, else results.db)")
    add("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> None:
    """Measured models first, published ones second."""
    task = api.normal("task", args.task)
    if task not in METRICS_OF_TASK:
        raise UsageError(f"no task '{args.task}'; there are {', '.join(METRICS_OF_TASK)}.")
    dataset = api.dataset(args.dataset).name
    records = Store(args.results).select(samples=False)
    entries = [e for e in entries_with(records) if task in e.tasks and e.dataset == dataset]
    constraints = constraints_of(args, recommend.metric_of(task, entries))
    groups = recommend.groups(entries, records, constraints.metric, devices(args.on), args.hardware)
    rows = [c for group in groups for c in recommend.recommend(group, constraints)]
    if args.json:
        print(json.dumps([asdict(c) for c in rows], indent=1))
    elif rows:
        print(format_table([text_row(c, constraints.metric) for c in rows]))
    if not rows:
        everything = [c for group in groups for c in group]
        print(f"zoo: no model is known to meet that: {recommend.obstacles(everything, constraints)}.", file=sys.stderr)


def constraints_of(args: argparse.Namespace, metric: str) -> Constraints:
    """The constraints."""
    return Constraints(
        metric=metric,
        min_ap=args.min_ap,
        latency_ms=quantity(args.max_latency, SECONDS, "50ms"),
        memory_mib=quantity(args.max_memory, BYTES, "2GiB"),
    )


def quantity(text: str | None, units: dict[str, float], example: str) -> float | None:
    """A number with its unit, in the unit whose factor is 1."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*([a-zA-Z]+)", text.strip())
    if not match or match[2].lower() not in units:
        raise UsageError(f"'{text}' is not a quantity such as {example}; units: {', '.join(units)}.")
    return float(match[1]) * units[match[2].lower()]


def devices(name: str | None) -> Sequence[str] | None:
    """The device names that `--on` means; None for any."""
    if name is None:
        return None
    if name.lower().replace("_", "-") != HERE:
        return [name]
    from benchmarks.system.environment import devices_here

    return devices_here()


def text_row(c: Candidate, metric: str) -> dict[str, object]:
    """A line for people."""
    return {
        "model": c.model,
        metric: f"{c.ap:.1f}",
        "ms": "" if c.latency_ms is None else f"{c.latency_ms:.1f}",
        "MiB": "" if c.memory_mib is None else f"{c.memory_mib:.0f}",
        "numbers": f"{c.source}, {c.hardware}" + (f" ({c.remark})" if c.remark else ""),
        "why": c.reason,
    }
