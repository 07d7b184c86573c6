"""`zoo show`: what the manifests say about one name, and what was measured here."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

from benchmarks.results.record import Record
from benchmarks.results.selection import accuracies, memory_mib, newest, percent
from benchmarks.results.store import Store
from zoo.cli.commands import show
from zoo.manifest.entry import Entry


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    show.configure(parser)
    parser.add_argument("--results", metavar="FILE", help="result store (default: $ZOO_RESULTS, else results.db)")


def run(args: argparse.Namespace) -> int:
    """Print it."""
    return show.run(args, partial(measured, Store(args.results)))


def measured(store: Store, entry: Entry) -> list[dict[str, Any]]:
    """The newest speed, and the newest accuracy on the whole dataset, that may stand beside published numbers."""
    records = store.select(model=entry.name, samples=False)
    speed = newest(records, "inference").get(entry.name)
    accuracy = accuracies(records, [entry]).get(entry.name)
    rows = [row(speed, speed_figures(speed))] if speed else []
    return [*rows, row(accuracy, accuracy_figures(accuracy, entry))] if accuracy else rows


def speed_figures(record: Record) -> dict[str, Any]:
    """Images per second and memory."""
    mib = memory_mib(record)
    return {
        "fps": round(record.metrics["fps"], 2) if record.metrics.get("fps") else None,
        "memory_mib": None if mib is None else round(mib),
        "weights": record.parameters.get("weights"),
    }


def accuracy_figures(record: Record, entry: Entry) -> dict[str, Any]:
    """Those of the published metrics that were measured, in percent; all average precisions where none is published."""
    published = {key for figures in entry.metrics.values() for key in figures}
    keys = sorted(published or {key for key in record.metrics if key.endswith("_ap")})
    values = {key: percent(record, key) for key in keys}
    return {key: round(value, 1) for key, value in values.items() if value is not None}


def row(record: Record, figures: dict[str, Any]) -> dict[str, Any]:
    """A measurement with how, on what and when it was made."""
    return {
        **figures,
        "protocol": record.protocol,
        "device": record.environment.get("device"),
        "time": record.time[:10],
        "record": record.id[:8],
    }
