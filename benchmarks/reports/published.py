"""The zoo as it was published, family by family, with what was measured here beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarks.accuracy.published_metrics import measured_name
from benchmarks.reports.network import network
from benchmarks.reports.table import Cell, Link, Table
from benchmarks.results.record import Record
from benchmarks.results.selection import accuracies, memory_mib, newest, percent

if TYPE_CHECKING:
    from zoo.manifest.api import Entry

# Column -> key of a published metric, in the order of the zoo's own pages.
METRICS = {
    "box AP": "box_ap",
    "mask AP": "mask_ap",
    "PQ": "pq",
    "mAP@50": "map_50",
    "AR@1000": "ar_1000",
}
MEASURED = {f"measured {column}": measured_name(key) for column, key in METRICS.items()}
COLUMNS = (
    "model",
    "backbone",
    "style",
    "schedule",
    "memory GB",
    "fps",
    "fps on",
    *METRICS,
    "measured fps",
    "measured MiB",
    "measured on",
    *MEASURED,
    "params M",
    "config",
    "dataset",
    "weights",
    "log",
    "notes",
)
DIGITS = {"measured fps": 2, "measured MiB": 0, "params M": 1}
NOTE = (
    "Published: memory in GB (training, per GPU), fps (one image at a time) and accuracies in percent. Measured: the "
    "newest records of this store, in float32, image by image; accuracies on the whole dataset. Published box and mask "
    "APs are COCO's at 100 detections, the same under MMDetection's maxDets=(100, 300, 1000) (protocol `mmdet-v2`) and "
    "the usual (1, 10, 100) (`coco`); AR@1000 is matched greedily."
)


def tables(entries: Sequence[Entry], records: Sequence[Record]) -> list[Table]:
    """One table per family, in alphabetical order."""
    families: dict[str, list[Entry]] = {}
    for entry in sorted(entries, key=lambda e: (e.family, e.name)):
        families.setdefault(entry.family, []).append(entry)
    speed, accuracy = newest(records, "inference"), accuracies(records, entries)
    return [
        Table(
            family,
            COLUMNS,
            [row(entry, speed.get(entry.name), accuracy.get(entry.name)) for entry in members],
            paper_note(members),
            DIGITS,
        )
        for family, members in families.items()
    ]


def row(entry: Entry, speed: Record | None, accuracy: Record | None) -> dict[str, Cell]:
    """One model. speed, accuracy: what was measured."""
    known = entry.speed[0] if entry.speed else None
    return {
        "model": entry.name,
        **network(entry),
        "schedule": entry.training.schedule,
        "memory GB": entry.training.memory_gb,
        "fps": known.fps if known else None,
        "fps on": known.hardware if known else None,
        **{column: entry.metric(key) for column, key in METRICS.items()},
        "measured fps": speed.metrics.get("fps") if speed else None,
        "measured MiB": memory_mib(speed) if speed else None,
        "measured on": speed.environment.get("device") if speed else None,
        **{column: percent(accuracy, key) for column, key in MEASURED.items()},
        "params M": entry.parameters / 1e6 if entry.parameters else None,
        "dataset": entry.dataset,
        "weights": link("weights", entry.checkpoint.urls if entry.checkpoint else ()),
        "log": link("log", entry.log_urls),
        "notes": " ".join(entry.notes) or None,
    }


def link(text: str, urls: Sequence[str]) -> Link | None:
    """A link to the first mirror's copy; None where nothing was published."""
    return Link(text, urls[0]) if urls else None


def paper_note(members: Sequence[Entry]) -> str:
    """The papers of a family."""
    papers = dict.fromkeys((e.paper.title, e.paper.url) for e in members if e.paper)
    return "; ".join(f"[{title}]({url})" for title, url in papers)
