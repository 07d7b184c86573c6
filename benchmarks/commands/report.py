"""`bench report`: tables from records."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.record import Record
from benchmarks.reports import comparison, markdown, measured
from benchmarks.results import Store
from zoo.errors import UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("--markdown", action="store_true", help="in GitHub's Markdown (the default)")
    add("--comparison", action="store_true", help="MMDetection's published comparison tables, measured columns beside")
    add("--model", metavar="GLOB", help="only these models")
    add("--all", action="store_true", help="every record, not only the newest of equal measurements")
    add("--results", metavar="FILE", help="result store (default: $ZOO_RESULTS, else results.db)")
    add("--out", metavar="FILE", help="write there (default: to standard output)")


def run(args: argparse.Namespace) -> None:
    """Select the records, make the tables, write them."""
    store = Store(args.results)
    records = store.select(model=args.model, latest=not args.all, samples=False)
    text = compared(records) if args.comparison else everything(records, store)
    if args.out:
        markdown.write(text, Path(args.out))
    else:
        print(text, end="")


def everything(records: list[Record], store: Store) -> str:
    """What was measured, with what was published beside it."""
    if not records:
        raise UsageError(f"{store.path} has no records to report. `bench inference` makes some.")
    return markdown.render(measured.tables(records), "Measured on this machine")


def compared(records: list[Record]) -> str:
    """The published comparison, which stands without any record too."""
    return markdown.render(comparison.tables(comparison.read_facts(), records), "Comparison with Detectron2 and others")
