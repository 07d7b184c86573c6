"""The report of `bench gpu-check`: what equals the reference on this GPU, what does not, and how fast it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.gpu_check.networks import KIND, PRECISIONS, TRAINED
from benchmarks.gpu_check.run import Ended
from benchmarks.reports import markdown, measured
from benchmarks.reports.table import Cell, Table
from benchmarks.results.record import Record

SHARES = ("boxes", "masks", "panoptic", "trace")
LOSS_TOLERANCE = 1e-3
# Records that a GPU does not give, and why.
EXPECTED = {
    "mask_rcnn_x101_32x4d_fpn_sample1e-3_mstrain_1x_lvis_v1": "with the formula's weights a thousand of its proposals "
    "have a score of exactly 1.0; which of equal ones survive depends on the rounding of the processor"
}


def render(records: Sequence[Record], stages: Sequence[Ended], environment: Mapping[str, Any]) -> str:
    """One document in Markdown. records: of networks, the last of each, and of all other stages, oldest first."""
    checked = list({record.model: record for record in records if record.kind == KIND}.values())
    rest = [record for record in records if record.kind != KIND]
    tables = [stage_table(stages), precision_table(checked), difference_table(checked), training_table(checked)]
    tables += [*fault_tables(checked), waits_table(checked)]
    shown = [table for table in tables if table.rows]
    return markdown.render([*shown, *measured.tables(rest)], "Checked on a GPU", machine(environment))


def machine(environment: Mapping[str, Any]) -> str:
    """What it ran on, in two sentences."""
    gpu, libraries = environment.get("gpu") or {}, environment.get("libraries") or {}
    return (
        f"On {environment.get('device')} ({gpu.get('memory_mib')} MiB, compute capability "
        f"{gpu.get('compute_capability')}, driver {gpu.get('driver')}, CUDA {environment.get('cuda')}, cuDNN "
        f"{environment.get('cudnn')}), {(environment.get('host') or {}).get('usable_cores')} cores; Python "
        f"{environment.get('python')}, PyTorch {libraries.get('torch')}, torchvision {libraries.get('torchvision')}; "
        f"commit {environment.get('commit')}{uncommitted(environment.get('commit'))}. Written by `bench "
        "gpu-check`; docs/gpu.md explains each part."
    )


def uncommitted(commit: str | None) -> str:
    """What the plus behind a commit means."""
    return " (the plus marks uncommitted changes)" if (commit or "").endswith("+") else ""


def stage_table(stages: Sequence[Ended]) -> Table:
    """How each command ended."""
    rows: list[Mapping[str, Cell]] = [
        {"stage": one.name, "result": one.status, "seconds": round(one.seconds), "expected": one.shows}
        for one in stages
    ]
    return Table("Stages", ("stage", "result", "seconds", "expected"), rows)


def precision_table(records: Sequence[Record]) -> Table:
    """How many networks equal their records in each precision."""
    note = (
        "The weights of each network are computed by a formula from their names, and its outputs are compared with "
        "those that the reference computed on a CPU in float32. In float32, all should be equal. In the other "
        "precisions, the result depends on rounding as much as on the network: these weights amplify rounding, so that "
        "other boxes are among the best 100."
    )
    rows: list[Mapping[str, Cell]] = []
    for name in PRECISIONS:
        measured = [record.metrics[name] for record in records if record.ok and record.metrics.get(name)]
        faults = sum(name in record.metrics["faults"] for record in records if record.ok)
        row: dict[str, Cell] = {"precision": name, "networks": len(measured) + faults, "faults": faults}
        row["equal"] = sum(bool(one["equal"]) for one in measured)
        shares = [share(one) for one in measured]
        row |= (
            {"lowest share": f"{min(shares):.1%}", "mean share": f"{sum(shares) / len(shares):.1%}"} if shares else {}
        )
        rows.append(row)
    columns = ("precision", "networks", "equal", "faults", "lowest share", "mean share")
    return Table("Networks compared with recorded results", columns, rows if records else [], note)


def share(metrics: Mapping[str, Any]) -> float:
    """The lowest share of what was recorded: boxes, masks, pixels."""
    return min((metrics[name] for name in SHARES if name in metrics), default=0.0)


def difference_table(records: Sequence[Record]) -> Table:
    """Networks that differ in float32, and those that differ in other precisions."""
    rows: list[Mapping[str, Cell]] = []
    for record in (record for record in records if record.ok):
        differing = {p: m for p in PRECISIONS if (m := record.metrics.get(p)) and not m["equal"]}
        if differing:
            cells: dict[str, Cell] = {name: shares_text(one) for name, one in differing.items()}
            remark = EXPECTED.get(record.model, "") if any(name.startswith("fp32") for name in differing) else ""
            rows.append({"network": record.model, **cells, "remark": remark})
    note = "For networks that do not count as equal: shares of the recorded boxes / masks or pixels that are matched."
    return Table("Networks that differ", ("network", *PRECISIONS, "remark"), rows, note)


def shares_text(metrics: Mapping[str, Any]) -> str:
    """`88% / 70%`: boxes, then masks or pixels."""
    return " / ".join(f"{metrics[name]:.0%}" for name in SHARES if name in metrics)


def training_table(records: Sequence[Record]) -> Table:
    """How many networks take a step, and whose losses are not those of the CPU."""
    note = (
        "One step on two images. In float32, the losses are compared with those on the CPU with the same weights and "
        f"random numbers: `close` means within {LOSS_TOLERANCE:g}, relative for losses above 1."
    )
    rows: list[Mapping[str, Cell]] = []
    for precision in TRAINED:
        name = f"training {precision}"
        measured = [one for record in records if record.ok and isinstance(one := record.metrics.get(name), Mapping)]
        near = [one["difference"] <= LOSS_TOLERANCE for one in measured if one.get("difference") is not None]
        row: dict[str, Cell] = {"precision": precision, "networks": len(measured)}
        row |= {"finite": sum(one["finite"] for one in measured), "close": sum(near) if near else None}
        row["faults"] = sum(name in record.metrics["faults"] for record in records if record.ok)
        rows.append(row)
    columns = ("precision", "networks", "finite", "close", "faults")
    return Table("Training steps", columns, rows if records else [], note)


def fault_tables(records: Sequence[Record]) -> list[Table]:
    """Errors; and losses that are not close."""
    faults: list[Mapping[str, Cell]] = [
        {"network": record.model, "check": check, "error": error}
        for record in records
        for check, error in (record.metrics["faults"].items() if record.ok else [("build", record.reason)])
    ]
    far: list[Mapping[str, Cell]] = [
        {"network": record.model, "difference": f"{one['difference']:.1e}", "loss": farthest(one)}
        for record in records
        if record.ok and isinstance(one := record.metrics.get("training fp32"), Mapping)
        if one.get("difference") is None or one["difference"] > LOSS_TOLERANCE
    ]
    return [
        Table("Faults", ("network", "check", "error"), faults),
        Table("Losses that differ from the CPU's", ("network", "difference", "loss"), far),
    ]


def farthest(metrics: Mapping[str, Any]) -> str:
    """The loss that differs most: its name, the device's value and the CPU's."""
    ours, want = metrics["losses"], metrics["cpu"]
    name = max(ours, key=lambda key: abs(ours[key] - want[key]) / max(abs(want[key]), 1.0))
    return f"{name}: {ours[name]:.4g} instead of {want[name]:.4g}"


def waiting(metrics: Mapping[str, Any]) -> Mapping[str, int]:
    """Source locations where the host waited, and how often; older records name them `places`."""
    return metrics.get("locations", metrics.get("places", {}))


def waits_table(records: Sequence[Record]) -> Table:
    """How often the host waits for each network."""
    rows: list[Mapping[str, Cell]] = []
    for record in (record for record in records if record.ok):
        one, step = record.metrics.get("fp32") or {}, record.metrics.get("training fp32")
        step = step if isinstance(step, Mapping) else {}
        locations = [location for location in waiting(one) if location.startswith("zoo/models")]
        rows.append(
            {
                "network": record.model,
                "one image": one.get("waits"),
                "losses": step.get("waits"),
                "peak MiB": one.get("peak_mib"),
                "peak MiB, step": step.get("peak_mib"),
                "most often at": locations[0] if locations else None,
            }
        )
    note = (
        "How often the host waited for the GPU: for one image, including its copy to the device and the copies of "
        "boxes, scores, labels and masks back, and in the losses of two images. Memory: of tensors, on small images."
    )
    rows.sort(key=lambda row: -float(row["one image"] or 0))  # type: ignore[arg-type]
    columns = ("network", "one image", "losses", "peak MiB", "peak MiB, step", "most often at")
    return Table("Waiting for the GPU", columns, rows, note, {"peak MiB": 0, "peak MiB, step": 0})


def as_expected(record: Record) -> bool:
    """Whether a network has no faults, and equals its record in float32 unless it is known not to."""
    if not record.ok or record.metrics["faults"]:
        return False
    plain = record.metrics.get("fp32") or {}
    return bool(plain.get("equal")) or record.model in EXPECTED
