"""What a reader of a report wants first: ours against Detectron2, from the same run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.reports.caveats import caveats
from benchmarks.reports.table import Cell, Table
from benchmarks.results.record import Record
from benchmarks.results.selection import by_device

COLUMNS = ("detector", "what", "ours", "Detectron2", "ours / Detectron2", "95% interval", "device", "remark")
NOTE = (
    "Ours and Detectron2 with the same weights on the same images, in turns in one run; above 1 ours is faster. A "
    "ratio is there only where both find the same (inference) or have the same losses (training)."
)
KINDS = {"compare": ("inference, images/s", "fps"), "compare training": ("training, images/s", "images_per_second")}


def table(records: Sequence[Record]) -> Table:
    """One row per detector, kind of work and device that was measured against Detectron2."""
    rows = []
    for kind in KINDS:
        for group in by_device(r for r in records if r.kind == kind and is_plain(r)):
            newest = {(r.model, r.parameters.get("peer")): r for r in sorted(group, key=lambda r: r.time)}
            for (model, peer), record in newest.items():
                ours = newest.get((model, None))
                if peer == "detectron2" and ours is not None:
                    rows.append(row(ours, record))
    return Table("Summary", COLUMNS, rows, NOTE, {"ours": 2, "Detectron2": 2, "ours / Detectron2": 2})


def is_plain(record: Record) -> bool:
    """Whether it stands for the detector: without options, and trained on images of the published size."""
    return not record.parameters.get("options") and not record.parameters.get("shorter_side")


def row(ours: Record, theirs: Record) -> Mapping[str, Cell]:
    """One comparison; a Detectron2 that did not run leaves ours and says why."""
    what, metric = KINDS[ours.kind]
    said = [theirs.reason, theirs.parameters.get("remark"), caveats(ours)]
    cells: dict[str, Cell] = {
        "detector": ours.model,
        "what": what,
        "ours": ours.metrics.get(metric),
        "Detectron2": theirs.metrics.get(metric),
        "device": ours.environment.get("device"),
        "remark": "; ".join(text for text in said if text),
    }
    return cells | ratio(theirs)


def ratio(theirs: Record) -> dict[str, Cell]:
    """Speed of ours over that of the peer, whose record has the reverse."""
    if "speedup" not in theirs.metrics:
        return {}
    value, low, high = (theirs.metrics[f"speedup{end}"] for end in ("", "_low", "_high"))
    return {"ours / Detectron2": 1 / value, "95% interval": f"{1 / high:.2f} to {1 / low:.2f}"}
