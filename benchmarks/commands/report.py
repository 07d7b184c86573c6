"""`bench report`: tables from records."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.record import Record
from benchmarks.reports import comparison, flat, html, markdown, measured, published
from benchmarks.reports.table import Table
from benchmarks.results import Store
from zoo import manifest
from zoo.errors import UsageError

HELP = {
    "markdown": "in GitHub's Markdown (the default)",
    "html": "one self-contained page of the whole zoo with everything that was measured",
    "csv": "comma-separated: one line per record, or per row with --zoo or --comparison",
    "json": "tables as JSON",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    formats = parser.add_mutually_exclusive_group()
    for name, text in HELP.items():
        formats.add_argument(f"--{name}", dest="format", action="store_const", const=name, help=text)
    add("--zoo", action="store_true", help="the tables of the whole zoo, published beside measured")
    add("--comparison", action="store_true", help="MMDetection's published comparison tables, measured columns beside")
    add("--model", metavar="GLOB", help="only these models")
    add("--family", metavar="NAME", help="with --zoo: only this family")
    add("--all", action="store_true", help="every record, not only the newest of equal measurements")
    add("--results", metavar="FILE", help="result store (default: $ZOO_RESULTS, else results.db)")
    add("--out", metavar="FILE", help="write there (default: to standard output)")
    parser.set_defaults(format="markdown")


def run(args: argparse.Namespace) -> None:
    """Select the records, make the tables, write them."""
    store = Store(args.results)
    records = store.select(model=args.model, latest=not args.all, samples=False)
    text = render(args, records, store)
    if args.out:
        markdown.write(text, Path(args.out))
    else:
        print(text, end="")


def render(args: argparse.Namespace, records: list[Record], store: Store) -> str:
    """The report as text, in the format asked for."""
    if args.format == "html":
        return html.render(entries(args), records)
    if not (args.zoo or args.comparison) and not records:
        raise UsageError(f"{store.path} has no records to report. `bench inference` makes some.")
    if args.format == "csv" and not (args.zoo or args.comparison):
        return flat.records_csv(records)
    title, tables = content(args, records)
    if args.format == "csv":
        return flat.tables_csv(tables)
    return flat.tables_json(tables) if args.format == "json" else markdown.render(tables, title)


def content(args: argparse.Namespace, records: list[Record]) -> tuple[str, list[Table]]:
    """Title and tables."""
    if args.zoo:
        return "The zoo", published.tables(entries(args), records)
    if args.comparison:
        return "Comparison with Detectron2 and others", comparison.tables(comparison.read_facts(), records)
    return "Measured on this machine", measured.tables(records)


def entries(args: argparse.Namespace) -> list[manifest.Entry]:
    """The models that are asked for."""
    return [manifest.get(name) for name in manifest.list_models(args.model or "*", family=args.family)]
