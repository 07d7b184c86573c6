"""How a job ended, for people."""

from __future__ import annotations

from benchmarks.results.record import Record


def ending(record: Record) -> str:
    """How a job ended, in a few words."""
    if not record.ok:
        return f"{record.status} ({record.reason})"
    shown = [f"{k} {record.metrics[k]:.4g}" for k in ("box_ap", "mask_ap", "fps") if k in record.metrics]
    return " ".join(["ok", *shown])
