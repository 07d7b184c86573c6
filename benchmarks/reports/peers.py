"""The table of other implementations that were measured in the same run as ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.reports.caveats import caveats
from benchmarks.reports.table import Cell, Table
from benchmarks.results.record import Record
from benchmarks.speed.peers.names import RUNTIMES

OWN_CHOICE = "own choice"

COLUMNS = (
    "model",
    "implementation",
    "version",
    "commit",
    "command",
    "weights",
    "fps",
    "p50 ms",
    "p90 ms",
    "peak MiB",
    "against ours",
    "95% interval",
    "found again",
    "score difference",
    "device",
    "instructions",
    "threads",
    "published fps",
    "published on",
    "remark",
)
NOTE = (
    "All implementations of a model ran in turns, batch by batch, on the same images, by the protocol `interleaved`. "
    "Against ours: seconds of ours over seconds of this one, the median over pairs of neighboring calls, above 1 is "
    "faster; empty where the two agree on less than 99% of the detections, which is not the same work. All have the "
    "same weights; peak MiB: of a process with that network alone. Remark: everything known to differ, ours first. "
    "Found again: share of our detections that it finds too (same label, IoU of at least 0.5); score "
    "difference: the largest among them. Instructions: PyTorch's; a runtime beside a PyTorch that was held to some "
    "makes its own choice. A published number was measured elsewhere, on the hardware beside it. A run is `bench "
    "compare MODEL --against IMPLEMENTATION --threads THREADS`, with its options; command: that of the peer's process."
)


def table(records: Sequence[Record]) -> Table:
    """One row per implementation, ours before its peers."""
    rows = [row(record) for record in records if record.kind == "compare"]
    digits = {"fps": 3, "against ours": 2, "score difference": 5, "peak MiB": 0}
    return Table("Other implementations in the same run", COLUMNS, rows, NOTE, digits)


def row(record: Record) -> Mapping[str, Cell]:
    """One implementation; one that did not run has only what it published and why."""
    p, m = record.parameters, record.metrics
    number = p.get("published") or {}
    cells: dict[str, Cell] = {
        "model": record.model,
        "implementation": implementation(record),
        "version": p.get("version"),
        "commit": short(p.get("commit") or ""),
        "command": p.get("command"),
        "weights": p.get("weights"),
        "published fps": number.get("fps"),
        "published on": number.get("hardware"),
        "device": record.environment.get("device"),
        "instructions": instructions(record),
        "threads": p.get("threads"),
        "remark": record.reason or "; ".join(filter(None, (p.get("remark"), p.get("differences"), caveats(record)))),
    }
    return cells | (measured(m) if record.ok else {})


def short(commit: str) -> str:
    """The first letters of a commit, and the `+` of a tree with changes."""
    return commit[:12] + ("+" if commit.endswith("+") else "")


def measured(metrics: Mapping[str, float]) -> dict[str, Cell]:
    """The numbers of this run."""
    return {
        "fps": metrics["fps"],
        "p50 ms": metrics.get("latency_ms_p50"),
        "p90 ms": metrics.get("latency_ms_p90"),
        "peak MiB": metrics.get("cuda_allocated_mib", metrics.get("resident_peak_mib")),
        **ratio(metrics),
        "found again": f"{metrics['matched']:.1%} of {metrics['detections']:.0f}" if "matched" in metrics else None,
        "score difference": metrics.get("score_difference"),
    }


def ratio(metrics: Mapping[str, float]) -> dict[str, Cell]:
    """Speed relative to ours with its interval; empty where the two do not do the same work."""
    if "speedup" not in metrics:
        return {}
    interval = f"{metrics['speedup_low']:.2f} to {metrics['speedup_high']:.2f}"
    return {"against ours": metrics["speedup"], "95% interval": interval}


def implementation(record: Record) -> str:
    """Who it is, with the options that are on."""
    chosen = record.parameters.get("options")
    ours = f"ours + {', '.join(chosen)}" if chosen else "ours"
    return record.parameters.get("peer") or ours


def instructions(record: Record) -> str | None:
    """The vector instructions that PyTorch used on a CPU; on a GPU they hardly matter.

    Other runtimes ask the processor themselves, so where PyTorch was held to fewer nobody knows theirs.
    """
    environment = record.environment
    if environment.get("device_type") != "cpu":
        return None
    host = environment.get("host") or {}
    return OWN_CHOICE if chooses_itself(record) else host.get("vector_units")


def chooses_itself(record: Record) -> bool:
    """Whether it is a runtime beside a PyTorch that was held to some instructions."""
    held = (record.environment.get("host") or {}).get("held_to")
    return bool(held) and record.parameters.get("peer") in RUNTIMES
