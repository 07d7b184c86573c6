"""`bench gpu-check`: the first hour on a GPU."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from zoo.cli.argument_types import positive
from zoo.errors import UsageError
from zoo.system.device import usable_device

# On an H100 one process held 10 GiB, with a network, its copy and cuDNN's workspace.
MIB_PER_WORKER = 10 * 1024


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = "The same command again goes on where it stopped. docs/gpu.md says what each part shows."
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help="architectures (default: the smallest recorded one of each family)")
    add("--all", action="store_true", help="every recorded architecture, and every stage as long as its protocol asks")
    add("--out", type=Path, default=Path("gpu-check"), metavar="DIR", help="logs, results and report (%(default)s/)")
    add("--device", default="cuda", help="cuda, cuda:1 ... (%(default)s)")
    add("--workers", type=positive, metavar="N", help="networks checked at once (default: by cores and memory)")
    add("--only", choices=("networks", "stages"), help="only the networks, or only accuracy, speed and comparisons")
    add("--json", action="store_true", help="print how each stage ended instead of the path of the report")


def run(args: argparse.Namespace) -> int:
    """Run what is left, write the report. Exit status 1 if a stage failed or a network is not the reference's."""
    names = chosen(args)
    device = usable_device(args.device)
    if device.type != "cuda":
        raise UsageError(
            f"gpu-check is for GPUs; '{args.device}' is none. `bench parity --all` checks all networks here."
        )
    from benchmarks.gpu_check import networks, report, stages
    from benchmarks.gpu_check import run as gpu_check
    from benchmarks.results.store import Store
    from benchmarks.system import environment
    from zoo.system.atomic_write import atomic_write

    args.out.mkdir(parents=True, exist_ok=True)
    facts = environment.describe(device)
    workers = args.workers or default_workers(facts["gpu"]["memory_mib"])
    records, done = [], gpu_check.read(args.out)
    if args.only != "stages":
        records = gpu_check.check_networks(names or networks.families(), args.out, args.device, workers, say)
    if args.only != "networks":
        done = gpu_check.run(stages.stages(short=not args.all), args.out, args.device, say)
    everything = Store(args.out / gpu_check.RESULTS).select(samples=False)
    atomic_write(args.out / "report.md", report.render(everything, list(done.values()), facts))
    print(json.dumps([asdict(one) for one in done.values()], indent=1) if args.json else args.out / "report.md")
    wrong = [record.model for record in records if not report.as_expected(record)]
    return int(bool(wrong) or any(one.status != "ok" for one in done.values()))


def chosen(args: argparse.Namespace) -> list[str]:
    """The architectures that the command line names; none for one of each family. Raises UsageError."""
    from benchmarks.parity import reference

    if args.all and args.names:
        raise UsageError("NAME and --all exclude each other.")
    return reference.names() if args.all else [reference.read(name).name for name in args.names]


def default_workers(memory_mib: int) -> int:
    """As many as there are cores but one, and as the memory of the GPU holds."""
    return max(1, min(12, (os.cpu_count() or 2) - 1, memory_mib // MIB_PER_WORKER))


def say(line: str) -> None:
    """Progress."""
    print(line, file=sys.stderr, flush=True)
