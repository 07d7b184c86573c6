"""`bench results`: look into the store of records."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.reports.text_table import format_table
from benchmarks.results.record import STATUSES, Record
from benchmarks.results.store import Store, write_lines
from zoo.cli.argument_types import positive
from zoo.errors import UsageError

LISTED = 500  # records that `list` shows unless told otherwise: a store may hold a million


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands and their options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, (help, function) in ACTIONS.items():
        sub = actions.add_parser(name, help=help, description=help)
        sub.add_argument("--results", metavar="FILE", help="result store (default: $ZOO_RESULTS, else results.db)")
        sub.set_defaults(action_function=function)
        if name in ("list", "export"):
            add_selection(sub)
            count = LISTED if name == "list" else None
            sub.add_argument("--limit", type=positive, default=count, help=f"only the newest ones ({count or 'all'})")
        if name in ("list", "show"):
            sub.add_argument("--json", action="store_true", help="print JSON")
        if name == "show":
            sub.add_argument("id", help="the beginning of a record's id")
        if name == "export":
            sub.add_argument("--out", metavar="FILE", help="JSON lines (default: to standard output)")
        if name == "merge":
            sub.add_argument("files", nargs="+", metavar="FILE", help="other stores, or exported JSON lines")


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Options that select records."""
    parser.add_argument("--model", metavar="GLOB", help="only these models")
    parser.add_argument("--kind", help="only this kind: inference, accuracy, training ...")
    parser.add_argument("--protocol", help="only this protocol")
    parser.add_argument("--status", choices=STATUSES, help="only this outcome")
    parser.add_argument("--since", metavar="TIME", help="only from this time on, such as 2026-11-22")
    parser.add_argument("--latest", action="store_true", help="only the newest of equal measurements")


def run(args: argparse.Namespace) -> int | None:
    """Do what was asked."""
    return args.action_function(args, Store(args.results))


def selection(args: argparse.Namespace) -> dict[str, Any]:
    """The conditions on the command line."""
    names = ("model", "kind", "protocol", "status", "since", "latest", "limit")
    return {name: getattr(args, name) for name in names}


def list_records(args: argparse.Namespace, store: Store) -> None:
    """One line per record."""
    records = store.select(samples=args.json, **selection(args))
    if args.json:
        print(json.dumps([record.to_dict() for record in records], indent=1))
    elif records:
        print(format_table([summary(record) for record in records]))
    if len(records) == args.limit:
        print(f"bench: the newest {args.limit}; --limit shows more", file=sys.stderr)


def summary(record: Record) -> dict[str, object]:
    """A record in one line."""
    numbers = {k: v for k, v in record.metrics.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}
    shown = ", ".join(f"{name} {value:.4g}" for name, value in list(numbers.items())[:3])
    return {
        "id": record.id[:8],
        "time": record.time[:19],
        "model": record.model,
        "kind": record.kind,
        "protocol": record.protocol,
        "status": record.status,
        "result": shown if record.ok else record.reason[:60],
    }


def show(args: argparse.Namespace, store: Store) -> None:
    """Everything about one record."""
    data = store.get(args.id).to_dict()
    if not args.json:
        data["samples"] = {name: f"{len(values)} values" for name, values in data["samples"].items()}
    print(json.dumps(data, indent=1))


def export(args: argparse.Namespace, store: Store) -> None:
    """Records as JSON lines."""
    records = store.stream(**selection(args))
    if args.out:
        write_lines(records, Path(args.out))
        return
    for record in records:
        print(json.dumps(record.to_dict()))


def merge(args: argparse.Namespace, store: Store) -> None:
    """Take in the records of other stores."""
    for file in args.files:
        if Path(file).resolve() == store.path.resolve():
            raise UsageError(f"{file} is the store to merge into.")
        print(f"{file}: {store.merge(file)} new records")


ACTIONS: dict[str, tuple[str, Callable[[argparse.Namespace, Store], None]]] = {
    "list": ("one line per record", list_records),
    "show": ("everything about one record", show),
    "export": ("records as JSON lines", export),
    "merge": ("add the records of other stores", merge),
}
