"""Tables of what was measured, with what was published beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.accuracy import published_metrics
from benchmarks.reports import artifacts, peer_training, peers, stages, summary
from benchmarks.reports.caveats import caveats
from benchmarks.reports.table import Cell, Table
from benchmarks.results import interval
from benchmarks.results.record import Record
from benchmarks.results.selection import find, memory_mib, percent

if TYPE_CHECKING:
    from zoo.manifest.api import Entry

Lookup = Callable[[str], "Entry | None"]
SPEED_COLUMNS = (
    "model",
    "weights",
    "protocol",
    "device",
    "precision",
    "batch",
    "resolution",
    "fps",
    "published fps",
    "published on",
    "p50 ms",
    "p99 ms",
    "memory MiB",
    "params M",
    "GFLOPs",
    "machine",
    "remark",
)


def tables(records: Sequence[Record], lookup: Lookup = find) -> list[Table]:
    """All tables that have rows: speed, options, peers, accuracy, files, what did not work, and the machines."""
    made = [
        summary.table(records),
        speed(records, lookup),
        options(records),
        peers.table(records),
        peer_training.table(records),
        accuracy(records, lookup),
        artifacts.table(records),
        stages.table(records),
        failures(records),
        machines(records),
    ]
    return [table for table in made if table.rows]


def speed(records: Sequence[Record], lookup: Lookup) -> Table:
    """Inference speed and memory of each record, the published speed beside it."""
    note = (
        "fps: images per second as the protocol defines it; `*` marks a run with other parameters than the protocol's "
        "own (the record lists them). Timed: host-to-device copy, network, post-processing, mask pasting; not timed: "
        "reading and resizing images, mask encoding. Memory: on a GPU, the peak allocated by PyTorch; on a CPU, the "
        "peak resident size of the process. GFLOPs: a multiply-add counts as two operations. With random weights, "
        "post-processing does different work than with trained ones."
    )
    shown = [record for record in records if record.ok and record.kind == "inference" and not in_options(record)]
    rows = [speed_row(record, lookup(record.model)) for record in shown]
    return Table("Inference", SPEED_COLUMNS, number_machines(rows, records), note, {"fps": 2, "params M": 2})


def in_options(record: Record) -> bool:
    """Whether a record's speed is told by the table of options, from one interleaved run with the plain network."""
    effects = record.metrics.get("effects") or {}
    return bool(effects) and all("fps" in effect for effect in effects.values())


def speed_row(record: Record, entry: Entry | None) -> dict[str, Cell]:
    """One measurement."""
    m, p = record.metrics, record.parameters
    published = entry.speed[0] if entry and entry.speed else None
    return {
        "model": record.model,
        "weights": p.get("weights"),
        "protocol": record.protocol + ("*" if p.get("departs_in") else ""),
        "device": record.environment.get("device"),
        "precision": precision(p),
        "batch": p.get("batch"),
        "resolution": ", ".join(p.get("resolution", {})),
        "fps": m.get("fps"),
        "published fps": published.fps if published else None,
        "published on": published.hardware if published else None,
        "p50 ms": m.get("latency_ms_p50"),
        "p99 ms": m.get("latency_ms_p99"),
        "memory MiB": memory_mib(record),
        "params M": scaled(m.get("parameters"), 1e6),
        "GFLOPs": scaled(m.get("flops"), 1e9),
        "machine": machine(record),
        "remark": caveats(record),
    }


def precision(parameters: Mapping[str, Any]) -> str:
    """fp32, bf16 or fp16, and the other options that were on."""
    others = [name for name in parameters.get("options", {}) if name != "amp"]
    return " + ".join([str(parameters.get("precision", "fp32")), *others])


def options(records: Sequence[Record]) -> Table:
    """What each option did to speed and to the detections."""
    columns = (
        "model",
        "option",
        "plain fps",
        "fps",
        "speed-up",
        "95% interval",
        "detections",
        "found again",
        "score difference",
        "added",
        "samples",
    )
    note = (
        "Both fps and the speed-up are from one run that alternates between the plain network and the option; "
        "speed-up: median over pairs of neighboring calls. Fewer than 30 samples are not reliable. Found again: share "
        "of the plain network's detections that are matched by one with the same label and an IoU of at least 0.5; "
        "score difference: the largest among matched detections; added: unmatched detections."
    )
    rows: list[Mapping[str, Cell]] = [
        {
            "model": record.model,
            "option": name,
            "plain fps": effect.get("plain_fps"),
            "fps": effect.get("fps"),
            "samples": effect.get("samples"),
            "speed-up": effect["speedup"],
            "95% interval": f"{effect['speedup_low']:.2f} to {effect['speedup_high']:.2f}",
            "detections": effect["detections"],
            "found again": f"{effect['matched']:.1%}",
            "score difference": effect["score_difference"],
            "added": effect["added"],
        }
        for record in records
        for name, effect in record.metrics.get("effects", {}).items()
    ]
    return Table("Options", columns, rows, note, {"speed-up": 2, "score difference": 5, "fps": 2, "plain fps": 2})


def accuracy(records: Sequence[Record], lookup: Lookup) -> Table:
    """Every metric that was measured, in percent points, against the published one."""
    measured_here = ("model", "weights", "dataset", "images", "protocol", "metric", "measured", "95% interval")
    columns = (*measured_here, "published", "difference", "definition", "machine")
    rows = [
        row
        for record in records
        if record.ok and record.kind == "accuracy"
        for row in accuracy_rows(record, lookup(record.model))
    ]
    note = (
        "In percent. A published number is for the whole dataset; `images` is the number of images used here. "
        "Protocol: the metric definition of the measured number; definition: that of the published number (the same "
        "where both are given). 95% interval: of the measured number, by a bootstrap over the images."
    )
    return Table("Accuracy", columns, number_machines(rows, records), note, {"difference": 2})


def accuracy_rows(record: Record, entry: Entry | None) -> list[dict[str, Cell]]:
    """One row per metric that has a published value; all metrics of a model without one.

    A metric of -1 says that there was nothing to find (no large object, say), so it is left out.
    """
    p = record.parameters
    common = {
        "model": record.model,
        "weights": p.get("weights", "published" if entry else None),
        "dataset": "_".join(str(p[name]) for name in ("dataset", "split") if p.get(name)),
        "images": p.get("images"),
        "protocol": record.protocol,
        "machine": machine(record),
    }
    known = [name for name, value in record.metrics.items() if isinstance(value, float) and value >= 0]
    compared = published_metrics.compare(entry, p, record.metrics) if entry else []
    rows = compared or [{"metric": name, "measured": percent(record, name)} for name in known]
    return [{**common, **row, "95% interval": interval_text(record, str(row["metric"]))} for row in rows]


def interval_text(record: Record, metric: str) -> str | None:
    """A metric's interval in percent; None where it has none."""
    pair = interval.of_record(record, metric)
    return f"{100 * pair[0]:.1f} to {100 * pair[1]:.1f}" if pair else None


def failures(records: Sequence[Record]) -> Table:
    """What gave no measurement, and why."""
    rows: list[Mapping[str, Cell]] = [
        {"model": r.model, "kind": r.kind, "status": r.status, "reason": r.reason, "time": r.time[:19]}
        for r in records
        if not r.ok and r.kind != "compare"  # a peer that is missing has a row among the peers
    ]
    return Table("Failed or skipped", ("model", "kind", "status", "reason", "time"), rows)


def machines(records: Sequence[Record]) -> Table:
    """What the measurements ran on; the other tables refer to the numbers."""
    columns = (
        "machine",
        "device",
        "processor",
        "instructions",
        "cores",
        "threads",
        "python",
        "torch",
        "driver",
        "commit",
    )
    rows: dict[str, Mapping[str, Cell]] = {}
    for record in records:
        if record.environment:
            rows.setdefault(machine(record), machine_row(record.environment))
    return Table("Machines", columns, number_machines([{**row, "machine": key} for key, row in rows.items()], records))


def machine_row(environment: Mapping[str, Any]) -> dict[str, Cell]:
    """One machine."""
    host, gpu = environment.get("host", {}), environment.get("gpu") or {}
    return {
        "device": environment.get("device"),
        "processor": host.get("cpu"),
        "instructions": host.get("vector_units"),
        "cores": host.get("usable_cores"),
        "threads": environment.get("threads", {}).get("intra_op"),
        "python": environment.get("python"),
        "torch": environment.get("libraries", {}).get("torch"),
        "driver": gpu.get("driver"),
        "commit": environment.get("commit"),
    }


def machine(record: Record) -> str:
    """A key that is equal for records of the same environment, as far as the table shows it."""
    return repr(machine_row(record.environment))


def number_machines(rows: list[dict[str, Any]], records: Sequence[Record]) -> list[Mapping[str, Cell]]:
    """Rows with the machines' keys replaced by 1, 2, ... in order of appearance in the records."""
    order = {key: number for number, key in enumerate(dict.fromkeys(machine(r) for r in records if r.environment), 1)}
    return [{**row, "machine": order.get(row["machine"])} for row in rows]


def scaled(value: float | None, unit: float) -> float | None:
    """`value` in a unit; None stays."""
    return None if value is None else value / unit
