"""Accuracy, speed, memory and size of exported files: each row is one file, known by its SHA-256, and one runtime."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.reports.table import Cell, Table
from benchmarks.results import interval
from benchmarks.results.record import Record
from benchmarks.results.selection import memory_mib

COLUMNS = (
    "model",
    "file",
    "precision",
    "runtime",
    "MiB",
    "dataset",
    "images",
    "AP",
    "95% interval",
    "mask AP",
    "fps",
    "p50 ms",
    "memory MiB",
    "device",
    "sha256",
)
NOTE = (
    "One row is one file, by its SHA-256, and the runtime that ran it: accuracy, speed and memory are of the very same "
    "bytes, and a cell is empty where that file was not measured. AP in percent points, on as many images as the "
    "column says. Memory: the peak resident size of the process."
)
Key = tuple[str, str, str, str]


def table(records: Sequence[Record]) -> Table:
    """One row for each file, runtime and device."""
    rows = [row(key, group) for key, group in joined(records).items()]
    return Table("Exported files", COLUMNS, rows, NOTE, {"MiB": 2, "AP": 2, "mask AP": 2, "fps": 2})


def joined(records: Iterable[Record]) -> dict[Key, list[Record]]:
    """Records of the same file, runtime and device, oldest first."""
    groups: dict[Key, list[Record]] = {}
    for record in records:
        if record.ok and record.kind in ("accuracy", "inference") and artifact(record):
            groups.setdefault(key(record), []).append(record)
    return groups


def artifact(record: Record) -> Mapping[str, Any]:
    """What a record says about the exported file that it is about; nothing for a record of a network."""
    return record.parameters.get("artifact") or {}


def key(record: Record) -> Key:
    """What records must have in common to stand in one row."""
    processor = (record.environment.get("host") or {}).get("cpu")
    runtime, device = record.parameters.get("runtime"), record.environment.get("device")
    return artifact(record)["sha256"], str(runtime), str(device), str(processor)


def row(key: Key, records: Sequence[Record]) -> dict[str, Cell]:
    """The newest accuracy and the newest speed of one file."""
    newest = {record.kind: record for record in records if record.parameters.get("batch", 1) == 1}
    file, accuracy, speed = artifact(records[-1]), newest.get("accuracy"), newest.get("inference")
    return {
        "model": records[-1].model,
        "file": file["file"],
        "precision": file["precision"],
        "runtime": key[1],
        "MiB": file["bytes"] / 2**20,
        "dataset": dataset(accuracy),
        "images": accuracy.parameters.get("images") if accuracy else None,
        "AP": points(accuracy, "box_ap"),
        "95% interval": bounds(accuracy, "box_ap"),
        "mask AP": points(accuracy, "mask_ap"),
        "fps": speed.metrics.get("fps") if speed else None,
        "p50 ms": speed.metrics.get("latency_ms_p50") if speed else None,
        "memory MiB": memory_mib(speed) if speed else None,
        "device": key[2],
        "sha256": key[0][:12],
    }


def dataset(record: Record | None) -> str | None:
    """What an accuracy is of."""
    return None if record is None else f"{record.parameters.get('dataset')} {record.parameters.get('split')}"


def bounds(record: Record | None, metric: str) -> str | None:
    """The 95% interval of a metric in percent points; None where it has none."""
    pair = interval.of_record(record, metric) if record else None
    return None if pair is None else f"{100 * pair[0]:.1f} to {100 * pair[1]:.1f}"


def points(record: Record | None, metric: str) -> float | None:
    """A metric in percent points; None where it was not measured."""
    value = record.metrics.get(metric) if record else None
    return None if value is None or value < 0 else 100 * value
