"""`bench logs`: what training logs tell."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.reports import training_logs


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("logs", nargs="+", metavar="LOG", help="a log file, or a model whose published log is fetched")
    add("--plot", type=Path, metavar="FILE", help="draw curves of all logs into this PNG file")
    add("--csv", type=Path, metavar="FILE", help="write every number of all logs into this CSV file")
    add("--keys", nargs="+", metavar="KEY", help="curves to draw: loss, lr, time, memory, box_ap, or any loss by name")
    add("--results", type=Path, metavar="FILE", help="also keep the numbers and curves in this result store")
    add("--json", action="store_true", help="print a JSON list")


def run(args: argparse.Namespace) -> None:
    """Read, print, draw, keep."""
    from benchmarks.reports import curves_csv, training_logs
    from benchmarks.results.record import plain
    from zoo.system.atomic_write import atomic_write

    result = distinct([open_log(name) for name in args.logs])
    if args.plot is not None:
        from benchmarks.reports import plots

        plots.write(result, args.keys or default_keys(result), args.plot)
    if args.csv is not None:
        atomic_write(args.csv, curves_csv.text(result))
    if args.results is not None:
        from benchmarks.results.store import Store

        Store(args.results).extend(training_logs.record(log) for log in result)
    rows = {log.name: training_logs.summary(log) for log in result}
    if args.json:
        curves = {log.name: [{"at": e.at, **e.values} for e in log.evaluations] for log in result}
        print(json.dumps([{"name": n, **plain(row), "evaluations": curves[n]} for n, row in rows.items()], indent=1))
    else:
        print(text(rows))


def distinct(result: list[training_logs.Log]) -> list[training_logs.Log]:
    """The logs under names that differ."""
    counts = Counter(log.name for log in result)
    return [
        replace(log, name=f"{log.name} {number}") if counts[log.name] > 1 else log
        for number, log in enumerate(result, 1)
    ]


def open_log(name: str) -> training_logs.Log:
    """A file, or the published log of a model. Raises LogError, UnknownModel, FetchError."""
    from benchmarks.reports import training_logs

    path = Path(name)
    if path.is_file():
        return training_logs.read(path)
    if path.suffix in (".json", ".log", ".jsonl"):
        raise training_logs.LogError(f"{path} does not exist.")
    from zoo.download.fetch import fetch_log
    from zoo.manifest.api import get

    return training_logs.read(fetch_log(name), get(name).name)


def default_keys(result: list[training_logs.Log]) -> list[str]:
    """The loss, and AP where any log has it."""
    return ["loss", *(key for key in ("box_ap", "mask_ap") if any(log.series(key)[1] for log in result))]


def text(rows: dict[str, dict[str, float | None]]) -> str:
    """A table with a column for each log and a line for each number that any of them has."""
    from tabulate import tabulate

    keys = list(dict.fromkeys(key for row in rows.values() for key, value in row.items() if value is not None))
    lines = [[key, *(number(row.get(key)) for row in rows.values())] for key in keys]
    return tabulate(lines, headers=["", *rows], disable_numparse=True)


def number(value: float | None) -> str:
    """Whole numbers as they are, others with three decimals."""
    return "" if value is None else str(value) if isinstance(value, int) else f"{value:.3f}"
