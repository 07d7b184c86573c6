"""`bench sweep`: one benchmark over many models."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path

from tqdm import tqdm

from benchmarks import executors, sweep
from benchmarks.record import Record
from benchmarks.results import Store
from benchmarks.row import Limits, Row
from benchmarks.sweep import Executor
from benchmarks.tables import format_table
from zoo import manifest
from zoo.errors import UsageError

KINDS = ("inference", "accuracy", "parity")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("kind", choices=KINDS, help="the benchmark: bench KIND MODEL OPTIONS for each model")
    add("pattern", nargs="*", metavar="GLOB", help="models; none and no other selection: an error, say --all")
    add("--all", action="store_true", help="every model of the manifests")
    add("--family", help="only this family")
    add("--task", help="only this task")
    add("--dataset", help="only models of this data set")
    add("--timeout", type=float, default=3600.0, metavar="S", help="seconds per row (%(default)s)")
    add("--memory", type=float, metavar="MIB", help="resident memory per row")
    add("--jobs", type=int, default=1, help="rows at a time; timed benchmarks take 1 (%(default)s)")
    add("--device", default="cpu", help="given to the benchmark, and reserved for timed rows (%(default)s)")
    add("--retry-failed", action="store_true", help="run rows again that have failed")
    add("--dry-run", action="store_true", help="only say what would run")
    add("--no-fetch-ahead", action="store_true", help="do not fetch the next models while one is measured")
    add("--executor", choices=("local", "ray", "slurm"), default="local", help="where rows run (%(default)s)")
    add("--address", metavar="ADDRESS", help="of a Ray cluster; default: one on this machine")
    add("--gpus", type=float, default=0, help="per row, on a cluster (%(default)s)")
    add("--cpus", type=float, default=1, help="per row, on a cluster (%(default)s)")
    add("--partition", help="of Slurm")
    add("--folder", metavar="DIR", default="slurm-logs", help="shared folder for Slurm's logs (%(default)s)")
    add("--results", metavar="FILE", help="result store (default: $ZOO_RESULTS, else results.db)")
    add("--json", action="store_true", help="print rows as JSON")
    add(
        "--with",
        dest="options",
        default="",
        metavar="OPTIONS",
        help="for the benchmark, such as '--data coco --limit 9'",
    )


def run(args: argparse.Namespace) -> int:
    """Run what is missing. Exit status 1 if any row of the sweep has failed."""
    rows = sweep.plan(args.kind, selection(args), [*shlex.split(args.options), "--device", args.device])
    store = Store(args.results)
    if args.dry_run:
        show(sweep.progress(rows, store), args)
        return 0
    limits = Limits(args.timeout, args.memory)
    before = sweep.progress(rows, store)
    bar = tqdm(total=len(rows), initial=len(rows) - len(before.pending(args.retry_failed)), unit="row", disable=None)
    with bar:
        for row, record in sweep.run(rows, store, executor_of(args), limits, args.retry_failed):
            bar.update()
            bar.set_postfix_str(f"{row.model}: {ending(record)}"[:80])
    after = sweep.progress(rows, store)
    show(after, args)
    return int(any(record.status == "failed" for record in after.done.values()))


def selection(args: argparse.Namespace) -> list[str]:
    """The models, in alphabetical order."""
    if not (args.pattern or args.all or args.family or args.task or args.dataset):
        raise UsageError("which models? Name some, or a --family, --task or --dataset, or say --all.")
    conditions = {"family": args.family, "task": args.task, "dataset": args.dataset}
    found = {m for p in args.pattern or ["*"] for m in manifest.list_models(p, **conditions)}
    if not found:
        raise UsageError("no model matches that selection; `zoo list` shows what there is.")
    return sorted(found)


def executor_of(args: argparse.Namespace) -> Executor:
    """Where the rows run."""
    if args.executor == "ray":
        return executors.ray(args.address, args.gpus, args.cpus)
    if args.executor == "slurm":
        return executors.slurm(Path(args.folder), args.partition, int(args.gpus), int(args.cpus))
    return sweep.local(args.jobs, args.device, fetch=not args.no_fetch_ahead)


def show(found: sweep.Progress, args: argparse.Namespace) -> None:
    """Every row and how it ended, on stdout; a count on stderr."""
    rows = [line(row, found.done.get(row.model)) for row in found.rows]
    print(json.dumps(rows, indent=1) if args.json else format_table(rows))
    totals = ", ".join(f"{count} {status}" for status, count in sweep.counts(found.done.values()).items())
    print(f"bench: {len(found.rows)} rows: {totals}, {len(found.rows) - len(found.done)} to run", file=sys.stderr)


def line(row: Row, record: Record | None) -> dict[str, object]:
    """One row."""
    return {"model": row.model, "result": ending(record) if record else "to run", "id": record.id[:8] if record else ""}


def ending(record: Record) -> str:
    """How a row ended, in a few words."""
    if not record.ok:
        return f"{record.status} ({record.reason})"
    shown = [f"{k} {record.metrics[k]:.4g}" for k in ("box_ap", "mask_ap", "fps") if k in record.metrics]
    return " ".join(["ok", *shown])
