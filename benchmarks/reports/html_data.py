"""What the HTML page shows, as plain data: each model with its numbers, records, curves and images; the fronts."""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.reports.network import network
from benchmarks.reports.published import METRICS
from benchmarks.reports.recommend import METRICS_OF_TASK, Candidate, Constraints, groups, metric_of, recommend
from benchmarks.results import interval
from benchmarks.results.record import Record
from benchmarks.results.selection import accuracies, find, memory_mib, newest, percent
from zoo.manifest import api
from zoo.manifest.formatting import one_line, plain

if TYPE_CHECKING:
    from zoo.manifest.api import Entry

# Kinds of records whose samples are curves over a training.
CURVES = ("training", "log")
CURVE_POINTS = 500
Images = Mapping[str, Sequence[Path]]


def content(entries: Sequence[Entry], records: Sequence[Record], images: Images) -> dict[str, Any]:
    """Everything that the page's script reads. Measured models that `entries` lack come after them."""
    own: dict[str, list[Record]] = {}
    for record in records:
        own.setdefault(record.model, []).append(record)
    listed = {entry.name for entry in entries}
    entries = [*entries, *(entry for name in own if name not in listed and (entry := find(name)))]
    speed, accuracy = newest(records, "inference"), accuracies(records, entries)
    models = [
        model(entry)
        | measured(speed.get(entry.name), accuracy.get(entry.name))
        | attached(own.get(entry.name, ()), images.get(entry.name, ()))
        for entry in entries
    ]
    others = sorted(set(own) - {entry.name for entry in entries})
    return {
        "metrics": {key: title for title, key in METRICS.items()},
        "models": models + [unlisted(name, own[name], images.get(name, ())) for name in others],
        "recipes": {recipe_key(entry): recipe(entry) for entry in entries},
        "fronts": fronts(entries, records),
    }


def model(entry: Entry) -> dict[str, Any]:
    """What the manifests say of one model."""
    speed, file = entry.speed[0] if entry.speed else None, entry.checkpoint
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
        "params": entry.parameters,
        **{key: entry.metric(key) for key in METRICS.values()},
        "recipe": recipe_key(entry),
        "sha256": file.sha256 if file else None,
        "md5": file.md5 if file else None,
        "urls": file.urls if file else (),
        "logs": entry.log_urls,
        "paper": {"title": entry.paper.title, "url": entry.paper.url} if entry.paper else None,
        "license": entry.license,
        "notes": entry.notes,
        "aliases": entry.aliases,
        "training": {k: v for k, v in vars(entry.training).items() if v is not None},
        "published": entry.metrics,
        "published_config": entry.config,
    }


def measured(speed: Record | None, accuracy: Record | None) -> dict[str, Any]:
    """The numbers of the newest plain records, beside those that were published."""
    metrics = speed.metrics if speed else {}
    return {
        "measured_fps": metrics.get("fps"),
        "measured_ms": metrics.get("latency_ms_p50"),
        "measured_mib": memory_mib(speed) if speed else None,
        "measured_on": speed.environment.get("device") if speed else None,
        "measured_weights": speed.parameters.get("weights") if speed else None,
        "flops": metrics.get("flops"),
        **{f"measured_{key}": percent(accuracy, key) for key in METRICS.values()},
        **{f"interval_{key}": points_interval(accuracy, key) for key in METRICS.values()},
    }


def points_interval(record: Record | None, metric: str) -> str | None:
    """A metric's 95% interval in percent; None where it has none."""
    pair = interval.of_record(record, metric) if record else None
    return f"{100 * pair[0]:.1f} to {100 * pair[1]:.1f}" if pair else None


def unlisted(name: str, records: Sequence[Record], images: Sequence[Path]) -> dict[str, Any]:
    """A measured model that is in no manifest."""
    speed = newest(records, "inference").get(name)
    facts = {"name": name, "family": "", "tasks": [], "notes": ["Not in the manifests."]}
    size = speed.metrics.get("parameters") if speed else None
    return facts | {"params": size} | measured(speed, None) | attached(records, images)


def attached(records: Sequence[Record], images: Sequence[Path]) -> dict[str, Any]:
    """A model's records, newest first, and images of its detections."""
    ordered = sorted(records, key=lambda r: r.time, reverse=True)
    return {"records": [summary(r) for r in ordered], "images": [embedded(path) for path in images]}


def summary(record: Record) -> dict[str, Any]:
    """One record, with curves but without raw times."""
    return {
        "kind": record.kind,
        "protocol": record.protocol,
        "status": record.status,
        "reason": record.reason,
        "time": record.time[:19].replace("T", " "),
        "device": record.environment.get("device"),
        "checkpoint": record.checkpoint,
        "parameters": {k: one_line(v) for k, v in record.parameters.items() if v not in (None, "", [], {})},
        "metrics": {k: with_interval(record, k, v) for k, v in record.metrics.items() if isinstance(v, (int, float))},
        "curves": curves(record) if record.kind in CURVES else [],
    }


def with_interval(record: Record, metric: str, value: float) -> float | str:
    """A metric, with its 95% interval where it has one."""
    pair = interval.of_record(record, metric)
    return f"{value:.4f} (95% interval {pair[0]:.4f} to {pair[1]:.4f})" if pair else value


def curves(record: Record) -> list[dict[str, Any]]:
    """Samples of a training as lines of at most CURVE_POINTS points, evenly chosen; `NAME_at` says where a point is."""
    result = []
    for name, values in sorted(record.samples.items(), key=lambda item: item[0] != "loss"):
        if name.endswith("_at"):
            continue
        positions = record.samples.get(f"{name}_at") or list(range(1, len(values) + 1))
        step = -(-len(values) // CURVE_POINTS) or 1
        across = "epoch" if record.kind == "log" and "epochs" in record.metrics else "iteration"
        result.append({"name": name, "across": across, "x": list(positions)[::step], "y": list(values)[::step]})
    return result


def recipe_key(entry: Entry) -> str:
    """Models with the same key get their images in the same way."""
    return f"{entry.preprocessing}, {entry.normalization}"


def recipe(entry: Entry) -> dict[str, Any]:
    """How images are prepared, step by step."""
    result = api.preprocessing(entry.name)
    extras = {"flip": result.flip, "float32": result.float32, "proposals": result.proposals}
    return {
        "name": entry.preprocessing,
        "normalization": entry.normalization,
        "steps": [f"{type(step).__name__}: {one_line(plain(step))}" for step in result.steps],
        "extras": [f"{key} {one_line(value)}" for key, value in extras.items() if value not in (None, False)],
    }


def embedded(path: Path) -> dict[str, str]:
    """An image as a data address, with its name."""
    kind = mimetypes.guess_type(path.name)[0] or "image/png"
    return {
        "name": path.stem,
        "src": f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}",
    }


def fronts(entries: Sequence[Entry], records: Sequence[Record]) -> list[dict[str, Any]]:
    """Per task and dataset, the Pareto-best models, exactly as `zoo recommend` without limits gives them."""
    result = []
    for task in METRICS_OF_TASK:
        for dataset in sorted({entry.dataset for entry in entries}):
            able = [e for e in entries if task in e.tasks and e.dataset == dataset]
            metric = metric_of(task, able)
            chosen = [c for group in groups(able, records, metric) for c in recommend(group, Constraints(metric))]
            if chosen:
                result.append({"task": task, "dataset": dataset, "metric": metric, "models": plain_rows(chosen)})
    return result


def plain_rows(candidates: Sequence[Candidate]) -> list[dict[str, Any]]:
    """Candidates as plain data."""
    return [vars(candidate) for candidate in candidates]
