"""`bench demo`: what `make demo` runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.system.device import usable_device

if TYPE_CHECKING:
    from benchmarks.results.record import Record


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--out", default="demo", metavar="DIR", help="folder for results and report (%(default)s/)")
    parser.add_argument("--fast", action="store_true", help="one model, in seconds, to check the installation")
    parser.add_argument("--device", default="cpu", help="cpu, cuda ... (%(default)s)")


def run(args: argparse.Namespace) -> int:
    """Measure, report, and say where the report is. Exit status 1 if an accuracy is not the stated one."""
    usable_device(args.device)
    from benchmarks.cli import demo
    from benchmarks.cli.commands import inference

    folder = Path(args.out)
    outcome = demo.run(folder, args.device, args.fast)
    accuracies, speeds = ([r for r in outcome.records if r.kind == kind] for kind in ("accuracy", "inference"))
    print(accuracy_table(accuracies), end="\n\n")
    inference.show(speeds, as_json=False)
    for sentence in outcome.different:
        print(f"bench: {sentence}", file=sys.stderr)
    print("\nReports:", *(folder / name for name in (demo.REPORTS[:1] if args.fast else demo.REPORTS)))
    return int(bool(outcome.different))


def accuracy_table(records: Sequence[Record]) -> str:
    """Each accuracy that a manifest states beside the measured one, in percent."""
    from tabulate import tabulate

    from benchmarks.accuracy import accuracy

    rows = [{"model": record.model, **row} for record in records for row in accuracy.comparison(record)]
    return tabulate(rows, headers="keys", floatfmt=("", "", ".1f", ".2f", "+.2f"))
