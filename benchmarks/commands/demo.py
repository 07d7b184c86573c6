"""`bench demo`: what `make demo` runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks import demo
from benchmarks.commands import inference


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--out", default="demo", metavar="DIR", help="where results and report go (%(default)s/)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda ... (%(default)s)")


def run(args: argparse.Namespace) -> None:
    """Measure, report, and say where the report is."""
    records = demo.run(Path(args.out), inference.checked_device(args.device))
    inference.show(records, as_json=False)
    print(f"\nReport: {Path(args.out) / 'report.md'}")
