"""`bench sweep`: one benchmark over many models."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.cli.argument_types import positive
from zoo.errors import UsageError

if TYPE_CHECKING:
    from benchmarks.results.record import Record
    from benchmarks.sweep.job import Job, Limits
    from benchmarks.sweep.sweep import Executor, Progress

KINDS = ("inference", "accuracy", "parity")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("kind", choices=KINDS, help="the benchmark: bench KIND MODEL OPTIONS for each model")
    add(
        "pattern",
        nargs="*",
        metavar="GLOB",
        help="models or globs; required unless --all, --family, --task or --dataset is given",
    )
    add("--all", action="store_true", help="every model of the manifests")
    add("--family", help="only this family")
    add("--task", help="only this task")
    add("--dataset", help="only models of this dataset")
    add("--timeout", type=float, default=3600.0, metavar="S", help="seconds per job (%(default)s)")
    add("--memory", type=float, metavar="MIB", help="resident memory per job")
    add("--jobs", type=positive, default=1, help="jobs at a time; timed benchmarks take 1 (%(default)s)")
    add("--device", default="cpu", help="passed to the benchmark, and reserved for timed jobs (%(default)s)")
    add("--retry-failed", action="store_true", help="run failed jobs again")
    add("--dry-run", action="store_true", help="list what would run")
    add("--no-fetch-ahead", action="store_true", help="do not download the next models during a measurement")
    add("--executor", choices=("local", "ray", "slurm"), default="local", help="where jobs run (%(default)s)")
    add("--address", metavar="ADDRESS", help="of a Ray cluster; default: one on this machine")
    add("--gpus", type=float, default=0, help="per job, on a cluster (%(default)s)")
    add("--cpus", type=float, default=1, help="per job, on a cluster (%(default)s)")
    add("--partition", help="of Slurm")
    add("--shard", metavar="I/N", help="only every Nth job from I (0 to N - 1) on: a part for each of N machines")
    add("--folder", metavar="DIR", default="slurm-logs", help="shared folder for Slurm's logs (%(default)s)")
    add("--results", metavar="FILE", help="result store (default: $ZOO_RESULTS, else results.db)")
    add("--json", action="store_true", help="print a JSON list instead of a table")
    add(
        "--with",
        dest="options",
        default="",
        metavar="OPTIONS",
        help="for the benchmark, such as '--data coco --limit 9'",
    )


def run(args: argparse.Namespace) -> int:
    """Run what is missing. Exit status 1 if any job of the sweep has failed."""
    chosen = selection(args)
    from benchmarks.results.store import Store
    from benchmarks.sweep import cost, skip_reasons, sweep
    from benchmarks.sweep.progress import View

    jobs = sweep.plan(args.kind, chosen, [*shlex.split(args.options), "--device", args.device])
    skip_reasons.options(jobs[0])  # options that the benchmark does not know are noticed before the first job
    store, limits = Store(args.results), limits_of(args)
    jobs = shard(cost.longest_first(jobs, store), args.shard)
    before = sweep.progress(jobs, store)
    if args.dry_run:
        show(before, args, to_run(before, args))
        return 0
    kept = {m: r for m, r in before.done.items() if not (args.retry_failed and r.status == "failed")}
    view = View(len(jobs), kept)
    with view.shown():
        steps = sweep.run(jobs, store, executor_of(args), limits, args.retry_failed, partial(skip, args))
        for job, record in steps:
            view.step(job, record)
    after = sweep.progress(jobs, store)
    show(after, args, {})
    return int(any(record.status == "failed" for record in after.done.values()))


def shard(jobs: list[Job], text: str | None) -> list[Job]:
    """The part of the jobs that --shard names, dealt out so that every part gets long and short ones."""
    if text is None:
        return jobs
    number, _, count = text.partition("/")
    if not (number.isdigit() and count.isdigit() and int(number) < int(count)):
        raise UsageError(f"--shard takes I/N with I from 0 to N - 1, not '{text}'.")
    return jobs[int(number) :: int(count)]


def limits_of(args: argparse.Namespace) -> Limits:
    """What a job may take."""
    if args.memory is not None and not Path("/proc/self/stat").exists():
        raise UsageError("--memory reads resident sizes from /proc, which this system does not have.")
    from benchmarks.sweep.job import Limits

    return Limits(args.timeout, args.memory)


def skip(args: argparse.Namespace, job: Job) -> str | None:
    """Why a job is not tried; whether its data is there is known for this machine only."""
    from benchmarks.sweep import skip_reasons

    return skip_reasons.reason(job, here=args.executor == "local")


def to_run(result: Progress, args: argparse.Namespace) -> dict[str, str]:
    """What would be done with each job that is pending: run it, run it again, or skip it."""
    from benchmarks.sweep.outcome import ending

    told = {}
    for job in result.pending(args.retry_failed):
        why, before = skip(args, job), result.done.get(job.model)
        told[job.model] = f"to skip ({why})" if why else f"to run again; {ending(before)}" if before else "to run"
    return told


def selection(args: argparse.Namespace) -> list[str]:
    """The models, in alphabetical order."""
    if not (args.pattern or args.all or args.family or args.task or args.dataset):
        raise UsageError("which models? Name some, or a --family, --task or --dataset, or say --all.")
    from zoo.manifest import api

    conditions = {"family": args.family, "task": args.task, "dataset": args.dataset}
    result = {
        pattern: api.list_models(pattern, unpublished=pattern != "*", **conditions) for pattern in args.pattern or ["*"]
    }
    for pattern, models in result.items():
        if not models:
            raise UsageError(f"no model matches '{pattern}' in that selection; `zoo list` shows what there is.")
    return sorted({model for models in result.values() for model in models})


def executor_of(args: argparse.Namespace) -> Executor:
    """Where the jobs run."""
    from benchmarks.sweep import executors, sweep

    if args.executor == "ray":
        return executors.ray(args.address, args.gpus, args.cpus)
    if args.executor == "slurm":
        return executors.slurm(Path(args.folder), args.partition, int(args.gpus), int(args.cpus))
    return sweep.local(args.jobs, fetch=not args.no_fetch_ahead)


def show(result: Progress, args: argparse.Namespace, pending: Mapping[str, str]) -> None:
    """Every job and how it ended, or what would be done with it, on stdout; a count on stderr."""
    from benchmarks.reports.text_table import format_table
    from benchmarks.sweep import sweep

    rows = [line(job, result.done.get(job.model), pending.get(job.model)) for job in result.jobs]
    print(json.dumps(rows, indent=1) if args.json else format_table(rows))
    ended = [record for model, record in result.done.items() if model not in pending]
    totals = ", ".join(f"{count} {status}" for status, count in sweep.counts(ended).items())
    print(f"bench: {len(result.jobs)} jobs: {totals}, {len(result.jobs) - len(ended)} to run", file=sys.stderr)


def line(job: Job, record: Record | None, pending: str | None) -> dict[str, object]:
    """A job's row of the table."""
    from benchmarks.sweep.outcome import ending

    result = pending or (ending(record) if record else "to run")
    return {"model": job.model, "result": result, "id": record.id[:8] if record else ""}
