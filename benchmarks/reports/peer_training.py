"""The table of trainings that were measured in the same run as ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.reports.caveats import caveats
from benchmarks.reports.peers import implementation, instructions, ratio
from benchmarks.reports.table import Cell, Table
from benchmarks.results.record import Record

COLUMNS = (
    "model",
    "shorter side",
    "implementation",
    "version",
    "s/iteration",
    "its 95% interval",
    "images/s",
    "peak MiB",
    "against ours",
    "95% interval",
    "CPU s",
    "CPU against ours",
    "interval of the CPU ratio",
    "loss difference",
    "device",
    "instructions",
    "threads",
    "commit",
    "command",
    "remark",
)
NOTE = (
    "Training steps of the same weights on the same batch, each implementation in a process of its own, in turns. "
    "Loss difference: the largest between the losses of the first step, with samplers that take everything; above 1e-3 "
    "it is not the same work, and there is no ratio. Peak MiB: on a CPU of the whole process, which computes these "
    "losses, too. Against ours: above 1 is faster than ours. CPU s: processor time of all threads, which other "
    "processes disturb less; empty in older records. Shorter side: of images that are not of the published size. A run "
    "is `bench compare MODEL --against IMPLEMENTATION --training --threads THREADS`; command: that of the process."
)


def table(records: Sequence[Record]) -> Table:
    """One row per implementation."""
    rows = [row(record) for record in records if record.kind == "compare training"]
    digits = {
        "s/iteration": 3,
        "images/s": 2,
        "peak MiB": 0,
        "against ours": 2,
        "CPU s": 2,
        "CPU against ours": 2,
        "loss difference": 6,
    }
    return Table("Training in the same run", COLUMNS, rows, NOTE, digits)


def row(record: Record) -> Mapping[str, Cell]:
    """One implementation; one that did not train says why."""
    p, m = record.parameters, record.metrics
    said = (record.reason, p.get("remark"), caveats(record) if record.ok else "")
    cells: dict[str, Cell] = {
        "model": record.model,
        "shorter side": p.get("shorter_side"),
        "implementation": implementation(record),
        "version": p.get("version"),
        "device": record.environment.get("device"),
        "instructions": instructions(record),
        "threads": p.get("threads"),
        "commit": (p.get("commit") or "")[:12],
        "command": p.get("command"),
        "remark": "; ".join(text for text in said if text),
    }
    if not record.ok:
        return cells
    measured: dict[str, Cell] = {
        "s/iteration": m["iteration_s"],
        "its 95% interval": f"{m['iteration_s_low']:.3f} to {m['iteration_s_high']:.3f}",
        "images/s": m["images_per_second"],
        "peak MiB": m.get("cuda_allocated_mib", m.get("resident_peak_mib")),
        "loss difference": m.get("loss_difference"),
        "CPU s": m.get("cpu_s"),
    }
    return cells | measured | ratio(m) | cpu_ratio(m)


def cpu_ratio(metrics: Mapping[str, float]) -> dict[str, Cell]:
    """Processor time relative to ours with its interval; empty where it was not measured."""
    if "cpu_speedup" not in metrics:
        return {}
    interval = f"{metrics['cpu_speedup_low']:.2f} to {metrics['cpu_speedup_high']:.2f}"
    return {"CPU against ours": metrics["cpu_speedup"], "interval of the CPU ratio": interval}
