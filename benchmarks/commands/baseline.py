"""`bench baseline`: write what later measurements are compared with."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks import baseline
from benchmarks.baseline import Tolerances
from benchmarks.results import Store
from zoo.errors import UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    default = Tolerances()
    add = parser.add_argument
    add("file", metavar="FILE", help="the JSON file to write")
    add("--model", default="*", metavar="GLOB", help="only these models")
    add("--kind", choices=("accuracy", "inference", "training"), help="only this kind of record")
    add("--results", metavar="FILE", help="result store (default: $ZOO_RESULTS, else results.db)")
    add("--accuracy", type=float, default=default.accuracy, help="absolute tolerance of accuracies (%(default)s)")
    add("--time", type=float, default=default.time, help="factor of relative times that fails (%(default)s)")
    add("--other-machine", type=float, default=default.other_machine, help="that factor elsewhere (%(default)s)")


def run(args: argparse.Namespace) -> None:
    """Write the newest record of each measurement."""
    store = Store(args.results)
    conditions = {"kind": args.kind} if args.kind else {}
    tolerances = Tolerances(accuracy=args.accuracy, time=args.time, other_machine=args.other_machine)
    made = baseline.make(store.stream(model=args.model, **conditions), tolerances)
    if not made.entries:
        raise UsageError(f"{store.path} has no successful record of '{args.model}' to make a baseline of.")
    baseline.write(made, Path(args.file))
    print(f"bench: {args.file} has {len(made.entries)} measurements", file=sys.stderr)
