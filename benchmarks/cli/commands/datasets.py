"""`bench datasets`: what is supported, what each folder should hold, and whether one does."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.datasets.catalog import DATASETS, spec
from benchmarks.datasets.check import check
from benchmarks.datasets.spec import Spec
from benchmarks.reports.text_table import format_table
from zoo.errors import UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("name", nargs="?", metavar="NAME", help="one dataset, with the layout of its folder")
    add("--check", type=Path, metavar="DIR", help="check whether DIR contains the dataset NAME")
    add("--split", metavar="NAME", help="part of the dataset; by default the one that results are published for")
    add("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """List, describe or check. Exit status 1 for a folder with problems."""
    if args.check is not None:
        return run_check(args)
    chosen = [spec(args.name)] if args.name else list(DATASETS.values())
    if args.json:
        rows = [facts(one, args.split) for one in chosen]
        print(json.dumps(rows[0] if args.name else rows, indent=1))
    elif args.name:
        print(description(chosen[0], args.split))
    else:
        print(format_table([{"name": s.name, "dataset": s.title, "metric": s.metric} for s in chosen]))
    return 0


def run_check(args: argparse.Namespace) -> int:
    """Check one folder and say what is there or what is wrong."""
    if args.name is None:
        raise UsageError("--check needs the dataset's name: bench datasets NAME --check DIR.")
    result = check(spec(args.name), args.check, args.split)
    if args.json:
        print(json.dumps(result, indent=1))
    else:
        print(f"{result['name']} in {result['root']}: {result['images']} images, {result['classes']} classes")
        print("\n".join(result["problems"]) or "complete")
        print("\n".join(f"note: {notice}" for notice in result["notices"]), end="\n" if result["notices"] else "")
    return int(bool(result["problems"]))


def facts(one: Spec, split: str | None) -> dict[str, Any]:
    """Everything that is known about a dataset."""
    return {
        "name": one.name,
        "title": one.title,
        "metric": one.metric,
        "root": one.root,
        "split": split or one.split,
        "layout": one.with_split(one.layout, split),
    }


def description(one: Spec, split: str | None) -> str:
    """The dataset for people."""
    layout = one.with_split(one.layout, split)
    width = max(map(len, layout))
    lines = [f"{one.title}: {one.metric}", "", f"{one.root}/"]
    return "\n".join(lines + [f"  {path.ljust(width)}  {meaning}" for path, meaning in layout.items()])
