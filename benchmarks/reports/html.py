"""One self-contained page: the whole zoo, sortable and filterable, with plots, and everything measured beside it.

The page needs no network: style, script, data and the plotting library (Plotly) are in the file.
"""

from __future__ import annotations

import base64
import json
import mimetypes
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.recommend import Wish, measured, published, recommend
from benchmarks.record import Record, plain
from benchmarks.reports.published import METRICS, network
from zoo.errors import UsageError

if TYPE_CHECKING:
    from zoo.manifest import Entry

ASSETS = resources.files("benchmarks.reports") / "assets"


def render(
    entries: Sequence[Entry], records: Sequence[Record], pictures: Mapping[str, Sequence[Path]] | None = None
) -> str:
    """The page. pictures: of detections, per model. Raises UsageError without the plotting library."""
    models = [model(entry, records, (pictures or {}).get(entry.name, ())) for entry in entries]
    known = {entry.name for entry in entries}
    others = sorted({record.model for record in records} - known)
    data = {
        "metrics": METRICS,
        "models": models + [unlisted(name, records, (pictures or {}).get(name, ())) for name in others],
        "front": front(entries, records),
    }
    parts = {
        "STYLE": asset("report.css"),
        "SCRIPT": asset("report.js"),
        "PLOTLY": plotly(),
        "DATA": json.dumps(plain(data)).replace("</", "<\\/"),
    }
    page = asset("report.html")
    for name, text in parts.items():
        page = page.replace(f"/*{name}*/", text)
    return page


def asset(name: str) -> str:
    """A file of the page."""
    return (ASSETS / name).read_text(encoding="utf-8")


def plotly() -> str:
    """The plotting library's script."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise UsageError("the HTML report needs plotly: pip install 'detection-zoo[html]'") from None
    return get_plotlyjs()


def model(entry: Entry, records: Sequence[Record], pictures: Sequence[Path]) -> dict[str, Any]:
    """What the page shows of one model of the manifests."""
    speed = entry.speed[0] if entry.speed else None
    file = entry.checkpoint
    return {
        "name": entry.name,
        "family": entry.family,
        "origin": entry.origin,
        "tasks": entry.tasks,
        "dataset": entry.dataset,
        **network(entry),
        "schedule": entry.training.schedule,
        "memory_gb": entry.training.memory_gb,
        "fps": speed.fps if speed else None,
        "hardware": speed.hardware if speed else None,
        **{key: entry.metric(key) for key in METRICS.values()},
        "normalization": entry.normalization,
        "preprocessing": entry.preprocessing,
        "sha256": file.sha256 if file else None,
        "urls": file.urls if file else (),
        "logs": entry.log_urls,
        "paper": {"title": entry.paper.title, "url": entry.paper.url} if entry.paper else None,
        "license": entry.license,
        "notes": entry.notes,
        "aliases": entry.aliases,
        "training": {k: v for k, v in vars(entry.training).items() if v is not None},
        "all_metrics": entry.metrics,
        **measurements(entry.name, records),
        "pictures": [embedded(path) for path in pictures],
    }


def unlisted(name: str, records: Sequence[Record], pictures: Sequence[Path]) -> dict[str, Any]:
    """What the page shows of a measured model that is in no manifest."""
    return {
        "name": name,
        "family": "",
        "tasks": [],
        "notes": ["Not in the manifests."],
        **measurements(name, records),
        "pictures": [embedded(path) for path in pictures],
    }


def measurements(name: str, records: Sequence[Record]) -> dict[str, Any]:
    """The records of a model, without raw samples but with training curves, and its newest speed and accuracy."""
    own = [record for record in records if record.model == name]
    newest = {record.kind: record for record in sorted(own, key=lambda r: r.time) if record.ok}
    speed = newest["inference"].metrics if "inference" in newest else {}
    ap = newest["accuracy"].metrics.get("box_ap") if "accuracy" in newest else None
    return {
        "measured_fps": speed.get("fps"),
        "measured_memory_mib": speed.get("cuda_allocated_mib") or speed.get("resident_peak_mib"),
        "parameters": speed.get("parameters"),
        "flops": speed.get("flops"),
        "measured_box_ap": 100 * ap if ap is not None else None,
        "records": [summary(record) for record in own],
    }


def summary(record: Record) -> dict[str, Any]:
    """One record in a few fields."""
    curves = {k: list(v)[:2000] for k, v in record.samples.items()} if record.kind == "training" else {}
    numbers = {k: v for k, v in record.metrics.items() if isinstance(v, (int, float))}
    return {
        "kind": record.kind,
        "protocol": record.protocol,
        "status": record.status,
        "reason": record.reason,
        "time": record.time[:19],
        "device": record.environment.get("device"),
        "parameters": record.parameters,
        "metrics": numbers,
        "curves": curves,
    }


def embedded(path: Path) -> str:
    """A picture as a data address."""
    kind = mimetypes.guess_type(path.name)[0] or "image/png"
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def front(entries: Sequence[Entry], records: Sequence[Record]) -> list[dict[str, Any]]:
    """The Pareto-best models by box AP: measured here, and published for the hardware with the most numbers."""
    by_name = {entry.name: entry for entry in entries if entry.dataset == "coco_2017"}
    groups = [measured(records, by_name, "box_ap"), published(by_name, "box_ap", "V100")]
    return [vars(candidate) for group in groups for candidate in recommend(group, Wish())]
