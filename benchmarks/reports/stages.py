"""Where the time goes from an image file's bytes to encoded detections (protocol `end-to-end`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.reports.table import Cell, Table
from benchmarks.results.record import Record
from benchmarks.speed.protocols.base import PIPELINE

PREFIX = "stage_ms_"
NOTE = (
    "Mean milliseconds of each stage of one image, alone on the machine; they sum to the whole within 3%. Overlapped: "
    "images per second with several images at once, with the same detections. The stage that takes longest limits the "
    "model on this machine. In an exported file selection and suppression are part of the network."
)


def milliseconds(record: Record) -> dict[str, float]:
    """Stage -> mean milliseconds; nothing for records of other protocols."""
    return {stage: record.metrics[PREFIX + stage] for stage in PIPELINE if PREFIX + stage in record.metrics}


def limiting(stages: Mapping[str, float]) -> str:
    """The stage that takes longest, and its share."""
    stage = max(stages, key=lambda name: stages[name])
    return f"{stage} ({stages[stage] / sum(stages.values()):.0%})"


def sentence(record: Record) -> str:
    """The stages of a record in a line; empty for records of other protocols."""
    if not (stages := milliseconds(record)):
        return ""
    listed = ", ".join(f"{stage} {value:.2f}" for stage, value in stages.items())
    streams = record.parameters.get("streams")
    return (
        f"{record.model}: ms of each stage: {listed}; limited by {limiting(stages)}; overlapped in {streams} streams "
        f"{record.metrics['overlapped_fps']:.2f} fps"
    )


def table(records: Sequence[Record]) -> Table:
    """One row for each record of the protocol."""
    shown = [record for record in records if record.ok and milliseconds(record)]
    stages = list(dict.fromkeys(stage for record in shown for stage in milliseconds(record)))
    columns = (
        "model",
        "file",
        "runtime",
        "device",
        *(f"{s} ms" for s in stages),
        "limited by",
        "fps",
        "overlapped fps",
    )
    digits = {"fps": 2, "overlapped fps": 2} | {f"{stage} ms": 2 for stage in stages}
    return Table("End to end", (*columns, "streams"), [row(record) for record in shown], NOTE, digits)


def row(record: Record) -> dict[str, Cell]:
    """One record."""
    stages, p = milliseconds(record), record.parameters
    return {
        "model": record.model,
        "file": (p.get("artifact") or {}).get("file"),
        "runtime": p.get("runtime", "torch"),
        "device": record.environment.get("device"),
        **{f"{stage} ms": value for stage, value in stages.items()},
        "limited by": limiting(stages),
        "fps": record.metrics["fps"],
        "overlapped fps": record.metrics["overlapped_fps"],
        "streams": p.get("streams"),
    }
