"""The table of pretended runs: what ran on the pretended device, and how often the host waits against what it must."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.perf.pretended_runs import MODES, NOT_RUN
from benchmarks.reports import markdown
from benchmarks.reports.table import Cell, Table

Rows = Sequence[Mapping[str, Any]]
INTRO = (
    "Written by `python -m benchmarks.perf.pretend_cuda --all`: tensors that report the device `cuda:0` reject what "
    "CUDA rejects, are computed on the CPU, and count where the host waits for the device. Results, speed and memory "
    "of CUDA's kernels are not tested this way; [the report of a GPU](gpu.md) has those."
)


def render(rows: Rows) -> str:
    """One document in Markdown."""
    networks = [row for row in rows if row["mode"] != "command"]
    tables = [summary(rows), commands(rows), architectures(networks), faults(rows)]
    return markdown.render([table for table in tables if table.rows], "On a simulated GPU", INTRO)


def summary(rows: Rows) -> Table:
    """How many ran, by mode."""
    result: list[Mapping[str, Cell]] = []
    for mode in (*MODES, "command"):
        own = [row for row in rows if row["mode"] == mode and row["result"] != NOT_RUN]
        if own:
            result.append({"mode": mode, "runs": len(own), "faults": sum(not row["ok"] for row in own)})
    return Table("Runs", ("mode", "runs", "faults"), result)


def commands(rows: Rows) -> Table:
    """Whole commands with `--device cuda`."""
    own: list[Mapping[str, Cell]] = [
        {"command": row["name"], "result": row["result"], "operators": row["operators"]}
        for row in rows
        if row["mode"] == "command"
    ]
    return Table("Commands with --device cuda", ("command", "result", "operators"), own)


def architectures(rows: Rows) -> Table:
    """One architecture in a row: how it ran in each mode, and the waits."""
    of: dict[str, dict[str, Mapping[str, Any]]] = defaultdict(dict)
    for row in rows:
        of[row["name"]][row["mode"]] = row
    result: list[Mapping[str, Cell]] = []
    for name, modes in sorted(of.items()):
        plain, learned = modes.get("fp32", {}), modes.get("losses", {})
        result.append(
            {
                "architecture": name,
                "stands for": ", ".join(plain.get("stands_for", ())),
                **{mode: brief(row) for mode, row in modes.items()},
                "one image": plain.get("syncs"),
                "needed": plain.get("needed"),
                "losses waits": learned.get("syncs") if learned.get("result") == "ok" else None,
                "step": learned.get("step"),
            }
        )
    note = (
        "How often the host waits: for one image, beside the number that is unavoidable (`needed`: the copies of the "
        "results, and one wherever the host must know how many there are to continue); in the losses of one image; and "
        "in backward, clipping and the optimizer's step. Copies to the device do not make the host wait if they are "
        "pinned or asynchronous. If nothing is detected, fewer waits are needed."
    )
    columns = ("architecture", "stands for", *MODES, "one image", "needed", "losses waits", "step")
    return Table("Architectures", columns, result, note)


def brief(row: Mapping[str, Any]) -> str:
    """A run in a word."""
    if not row["ok"]:
        return "FAULT"
    return "ok" if row["result"][0].isdigit() or row["result"] in ("ok", "no detections") else row["result"]


def faults(rows: Rows) -> Table:
    """What went wrong."""
    result: list[Mapping[str, Cell]] = [
        {"name": row["name"], "mode": row["mode"], "fault": row["result"]} for row in rows if not row["ok"]
    ]
    return Table("Faults", ("name", "mode", "fault"), result)
