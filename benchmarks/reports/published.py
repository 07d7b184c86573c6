"""The zoo as it was published, family by family, with what was measured here beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.record import Record
from benchmarks.reports.table import Cell, Link, Table

if TYPE_CHECKING:
    from zoo.manifest import Entry

# Column -> key of a published metric, in the order of the zoo's own pages.
METRICS = {
    "box AP": "box_ap",
    "mask AP": "mask_ap",
    "PQ": "pq",
    "mAP@50": "map_50",
    "AR@1000": "ar_1000",
}
COLUMNS = (
    "model",
    "backbone",
    "style",
    "schedule",
    "memory GB",
    "fps",
    "fps on",
    *METRICS,
    "data set",
    "measured fps",
    "measured box AP",
    "weights",
    "log",
    "notes",
)


def tables(entries: Sequence[Entry], records: Sequence[Record]) -> list[Table]:
    """One table per family, in alphabetical order."""
    families: dict[str, list[Entry]] = {}
    for entry in sorted(entries, key=lambda e: (e.family, e.name)):
        families.setdefault(entry.family, []).append(entry)
    measured = measurements(records)
    return [
        Table(family, COLUMNS, [row(entry, measured) for entry in members], paper_note(members), {"measured fps": 2})
        for family, members in families.items()
    ]


def measurements(records: Sequence[Record]) -> dict[tuple[str, str], Record]:
    """The newest successful record of each model and kind."""
    return {(r.model, r.kind): r for r in sorted(records, key=lambda r: r.time) if r.ok}


def row(entry: Entry, measured: Mapping[tuple[str, str], Record]) -> dict[str, Cell]:
    """One model."""
    speed = entry.speed[0] if entry.speed else None
    fps, ap = measured.get((entry.name, "inference")), measured.get((entry.name, "accuracy"))
    return {
        "model": entry.name,
        **network(entry),
        "schedule": entry.training.schedule,
        "memory GB": entry.training.memory_gb,
        "fps": speed.fps if speed else None,
        "fps on": speed.hardware if speed else None,
        **{column: entry.metric(key) for column, key in METRICS.items()},
        "data set": entry.dataset,
        "measured fps": fps.metrics.get("fps") if fps else None,
        "measured box AP": 100 * ap.metrics["box_ap"] if ap and "box_ap" in ap.metrics else None,
        "weights": link("weights", entry.checkpoint.urls if entry.checkpoint else ()),
        "log": link("log", entry.log_urls),
        "notes": " ".join(entry.notes) or None,
    }


def link(text: str, urls: Sequence[str]) -> Link | None:
    """A link to the first mirror's copy; None where nothing was published."""
    return Link(text, urls[0]) if urls else None


def network(entry: Entry) -> dict[str, Cell]:
    """Backbone and style, from the architecture's description."""
    if entry.architecture is None:
        return {}
    from zoo.manifest import architecture

    backbone = architecture(entry.architecture).get("backbone", {})
    return {"backbone": backbone_label(backbone), "style": backbone.get("style")}


def backbone_label(backbone: Mapping[str, Any]) -> str:
    """A backbone in a word or two: `ResNet-50`, `ResNeXt-101 (64x4d)`, `RegNet regnetx_3.2gf`."""
    label = str(backbone.get("type", "")).removeprefix("mmcls.")
    if "depth" in backbone:
        label += f"-{backbone['depth']}"
    if "groups" in backbone:
        label += f" ({backbone['groups']}x{backbone.get('base_width', 4)}d)"
    return label + (f" {backbone['arch']}" if "arch" in backbone else "")


def paper_note(members: Sequence[Entry]) -> str:
    """The papers of a family."""
    papers = dict.fromkeys((e.paper.title, e.paper.url) for e in members if e.paper)
    return "; ".join(f"[{title}]({url})" for title, url in papers)
