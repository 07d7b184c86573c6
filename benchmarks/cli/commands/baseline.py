"""`bench baseline`: write a baseline for later measurements."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.results.tolerances import KINDS, Tolerances
from zoo.errors import UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    default = Tolerances()
    add = parser.add_argument
    add("file", metavar="FILE", help="the JSON file to write")
    add("--model", default="*", metavar="GLOB", help="only these models")
    add("--kind", choices=KINDS, help="only this kind of record")
    add("--results", metavar="FILE", help="result store (default: $ZOO_RESULTS, else results.db)")
    add("--accuracy", type=float, default=default.accuracy, help="absolute tolerance of accuracies (%(default)s)")
    add("--score", type=float, default=default.score, help="absolute tolerance of a detection's score (%(default)s)")
    add("--box", type=float, default=default.box, help="tolerance of a detection's box, in pixels (%(default)s)")
    add("--time", type=float, default=default.time, help="factor of relative times that fails (%(default)s)")
    add("--without-times", action="store_true", help="leave times out: a baseline for every machine")
    add("--other-machine", type=float, default=default.other_machine, help="factor on other machines (%(default)s)")


def run(args: argparse.Namespace) -> None:
    """Write the newest record of each measurement."""
    from benchmarks.results import baseline
    from benchmarks.results.store import Store

    store = Store(args.results)
    conditions = {"kind": args.kind} if args.kind else {}
    names = ("accuracy", "score", "box", "time", "other_machine")
    tolerances = Tolerances(**{name: getattr(args, name) for name in names})
    made = baseline.make(store.stream(model=args.model, **conditions), tolerances, times=not args.without_times)
    if not made.entries:
        raise UsageError(f"{store.path} has no successful record of '{args.model}' that a later one can be held to.")
    baseline.write(made, Path(args.file))
    print(f"bench: {args.file} has {len(made.entries)} measurements", file=sys.stderr)
