"""`bench sweep`: one benchmark over many models."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from benchmarks.reports.text_table import format_table
from benchmarks.results.record import Record
from benchmarks.results.store import Store
from benchmarks.sweep import cost, executors, skip_reasons, sweep
from benchmarks.sweep.job import Job, Limits
from benchmarks.sweep.outcome import ending
from benchmarks.sweep.sweep import Executor
from zoo.cli.argument_types import positive
from zoo.errors import UsageError
from zoo.manifest import api

KINDS = ("inference", "accuracy", "parity")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("kind", choices=KINDS, help="the benchmark: bench KIND MODEL OPTIONS for each model")
    add("pattern", nargs="*", metavar="GLOB", help="models; none and no other selection: an error, say --all")
    add("--all", action="store_true", help="every model of the manifests")
    add("--family", help="only this family")
    add("--task", help="only this task")
    add("--dataset", help="only models of this dataset")
    add("--timeout", type=float, default=3600.0, metavar="S", help="seconds per row (%(default)s)")
    add("--memory", type=float, metavar="MIB", help="resident memory per row")
    add("--jobs", type=positive, default=1, help="rows at a time; timed benchmarks take 1 (%(default)s)")
    add("--device", default="cpu", help="given to the benchmark, and reserved for timed rows (%(default)s)")
    add("--retry-failed", action="store_true", help="run rows again that have failed")
    add("--dry-run", action="store_true", help="only say what would run")
    add("--no-fetch-ahead", action="store_true", help="do not fetch the next models while one is measured")
    add("--executor", choices=("local", "ray", "slurm"), default="local", help="where rows run (%(default)s)")
    add("--address", metavar="ADDRESS", help="of a Ray cluster; default: one on this machine")
    add("--gpus", type=float, default=0, help="per row, on a cluster (%(default)s)")
    add("--cpus", type=float, default=1, help="per row, on a cluster (%(default)s)")
    add("--partition", help="of Slurm")
    add("--shard", metavar="I/N", help="only every Nth row from I (0 to N - 1) on: a part for each of N machines")
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
    skip_reasons.options(rows[0])  # options that the benchmark does not know are noticed before the first row
    store, limits = Store(args.results), limits_of(args)
    rows = shard(cost.longest_first(rows, store), args.shard)
    before = sweep.progress(rows, store)
    if args.dry_run:
        show(before, args, to_run(before, args))
        return 0
    kept = {m: r for m, r in before.done.items() if not (args.retry_failed and r.status == "failed")}
    from benchmarks.sweep.progress import View

    view = View(len(rows), kept)
    with view.shown():
        steps = sweep.run(rows, store, executor_of(args), limits, args.retry_failed, partial(skip, args))
        for row, record in steps:
            view.step(row, record)
    after = sweep.progress(rows, store)
    show(after, args, {})
    return int(any(record.status == "failed" for record in after.done.values()))


def shard(rows: list[Job], text: str | None) -> list[Job]:
    """The part of the rows that --shard names, dealt out so that every part gets long and short ones."""
    if text is None:
        return rows
    number, _, count = text.partition("/")
    if not (number.isdigit() and count.isdigit() and int(number) < int(count)):
        raise UsageError(f"--shard takes I/N with I from 0 to N - 1, not '{text}'.")
    return rows[int(number) :: int(count)]


def limits_of(args: argparse.Namespace) -> Limits:
    """What a row may take."""
    if args.memory is not None and not Path("/proc/self/stat").exists():
        raise UsageError("--memory reads resident sizes from /proc, which this system does not have.")
    return Limits(args.timeout, args.memory)


def skip(args: argparse.Namespace, row: Job) -> str | None:
    """Why a row is not tried; whether its data is there is known for this machine only."""
    return skip_reasons.reason(row, here=args.executor == "local")


def to_run(result: sweep.Progress, args: argparse.Namespace) -> dict[str, str]:
    """What would be done with each row that is pending: run it, run it again, or skip it."""
    told = {}
    for row in result.pending(args.retry_failed):
        why, before = skip(args, row), result.done.get(row.model)
        told[row.model] = f"to skip ({why})" if why else f"to run again; {ending(before)}" if before else "to run"
    return told


def selection(args: argparse.Namespace) -> list[str]:
    """The models, in alphabetical order."""
    if not (args.pattern or args.all or args.family or args.task or args.dataset):
        raise UsageError("which models? Name some, or a --family, --task or --dataset, or say --all.")
    conditions = {"family": args.family, "task": args.task, "dataset": args.dataset}
    result = {
        pattern: api.list_models(pattern, unpublished=pattern != "*", **conditions) for pattern in args.pattern or ["*"]
    }
    for pattern, models in result.items():
        if not models:
            raise UsageError(f"no model matches '{pattern}' in that selection; `zoo list` shows what there is.")
    return sorted({model for models in result.values() for model in models})


def executor_of(args: argparse.Namespace) -> Executor:
    """Where the rows run."""
    if args.executor == "ray":
        return executors.ray(args.address, args.gpus, args.cpus)
    if args.executor == "slurm":
        return executors.slurm(Path(args.folder), args.partition, int(args.gpus), int(args.cpus))
    return sweep.local(args.jobs, fetch=not args.no_fetch_ahead)


def show(result: sweep.Progress, args: argparse.Namespace, pending: Mapping[str, str]) -> None:
    """Every row and how it ended, or what would be done with it, on stdout; a count on stderr."""
    rows = [line(row, result.done.get(row.model), pending.get(row.model)) for row in result.rows]
    print(json.dumps(rows, indent=1) if args.json else format_table(rows))
    ended = [record for model, record in result.done.items() if model not in pending]
    totals = ", ".join(f"{count} {status}" for status, count in sweep.counts(ended).items())
    print(f"bench: {len(result.rows)} rows: {totals}, {len(result.rows) - len(ended)} to run", file=sys.stderr)


def line(row: Job, record: Record | None, pending: str | None) -> dict[str, object]:
    """One row."""
    result = pending or (ending(record) if record else "to run")
    return {"model": row.model, "result": result, "id": record.id[:8] if record else ""}
