"""Training logs: what MMDetection (`.log.json`, and version 3's `scalars.json`), Detectron2 (`metrics.json`) and
`zoo train` (`log.json`) wrote, read into one form, and what follows from them.

All are text with a JSON object a line. Times are means over the iterations since the line before.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

from benchmarks.results.record import Record
from zoo.errors import ZooError

# COCO's numbers: MMDetection writes `bbox_mAP_50` (3.x `coco/bbox_mAP_50`) as fractions, Detectron2 `bbox/AP50`.
FRACTION = re.compile(r"(?:coco/)?(bbox|segm)_mAP(?:_(50|75|s|m|l))?")
PERCENT = re.compile(r"(bbox|segm)/AP(50|75|s|m|l)?")
AP_NAMES = {"bbox": "box_ap", "segm": "mask_ap"}
PARTS = {None: "", "50": "_50", "75": "_75", "s": "_small", "m": "_medium", "l": "_large"}
OTHERS = {
    "mAP": ("box_ap", 100.0),
    "pascal_voc/mAP": ("box_ap", 100.0),
    "AR@1000": ("proposal_ar_1000", 100.0),
    "PQ": ("pq", 1.0),
}


class LogError(ZooError):
    """A file is not a training log that is known here."""


@dataclass(frozen=True)
class Line:
    """What a log says about some iterations. epoch: from 1, None where the run does not count epochs.

    iteration: of the epoch where there are epochs, else of the run; from 1. values: losses, learning rate and such.
    """

    epoch: int | None
    iteration: int
    seconds: float | None
    data_seconds: float | None
    memory_mib: float | None
    values: Mapping[str, float]


@dataclass(frozen=True)
class Evaluation:
    """Metrics at a point of a run, AP in percent. at: the epoch, or the iteration where there are no epochs."""

    at: int
    values: Mapping[str, float]


@dataclass(frozen=True)
class Log:
    """One run."""

    name: str
    kind: str
    lines: Sequence[Line]
    evaluations: Sequence[Evaluation] = field(default_factory=list)

    def series(self, key: str) -> tuple[list[float], list[float]]:
        """(positions, values) of a loss, `lr`, `time`, `memory`, or a metric such as `box_ap`, in order.

        Positions are in epochs, or in iterations where the run does not count epochs.
        """
        if any(key in evaluation.values for evaluation in self.evaluations):
            points = [(float(e.at), e.values[key]) for e in self.evaluations if key in e.values]
        else:
            named = [(self.position(line), value_of(line, key)) for line in self.lines]
            points = [(x, y) for x, y in named if y is not None]
        return [x for x, _ in points], [y for _, y in points]

    def position(self, line: Line) -> float:
        """Where a line stands: epochs done, or iterations."""
        if line.epoch is None:
            return float(line.iteration)
        return line.epoch - 1 + line.iteration / max(self.epoch_length, 1)

    @property
    def epoch_length(self) -> int:
        """Iterations of an epoch, as far as the last lines of epochs tell."""
        return max((line.iteration for line in self.lines if line.epoch is not None), default=0)


def value_of(line: Line, key: str) -> float | None:
    """A number of a line by its name in the log."""
    known = {"time": line.seconds, "data_time": line.data_seconds, "memory": line.memory_mib}
    return known[key] if key in known else line.values.get(key)


def read(path: Path, name: str | None = None) -> Log:
    """Read a log. Raises LogError.

    Of an iteration that stands there twice, because the run was resumed, the later line counts.
    """
    rows = list(objects(path))
    if any("iteration" in row for row in rows):
        return detectron2(rows, name or title(path))
    if any("iter" in row or row.get("mode") == "val" or "step" in row for row in rows):
        return mmdetection(rows, name or title(path))
    raise LogError(f"{path} has no line about an iteration: it is not a log of MMDetection, Detectron2 or `zoo train`.")


def title(path: Path) -> str:
    """A log's name: its file's, or its folder's where every run calls its log alike."""
    stem = re.sub(r"\.log$", "", path.stem)
    return path.absolute().parent.name if stem in ("log", "metrics", "scalars") else stem


def objects(path: Path) -> Iterable[dict[str, Any]]:
    """The JSON object of each line; the last line may be broken off."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LogError(f"{path} cannot be read: {error}.") from None
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line) if line.strip() else {}
        except ValueError:
            if number == len(lines):
                return
            raise LogError(f"{path}:{number} is not JSON: it is not a training log, or a damaged one.") from None
        if isinstance(row, dict):
            yield row


def mmdetection(rows: Sequence[dict[str, Any]], name: str) -> Log:
    """MMDetection's rows: `mode` tells training from evaluation (3.x has none, and counts evaluations by `step`)."""
    lines: dict[tuple[int, int], Line] = {}
    result: dict[int, Evaluation] = {}
    epoch = 0
    for row in rows:
        if row.get("mode", "train") == "train" and "iter" in row:
            epoch = row.get("epoch", epoch)
            lines[epoch, row["iter"]] = line_of(row, epoch, row["iter"])
        elif metrics := metrics_of(row):
            at = row.get("epoch", row.get("step", epoch))
            result[at] = Evaluation(at, metrics)
    return Log(name, "mmdetection", list(lines.values()), [result[at] for at in sorted(result)])


def detectron2(rows: Sequence[dict[str, Any]], name: str) -> Log:
    """Detectron2's rows: iterations from 0 of the whole run; an evaluation stands in the row of its iteration."""
    lines: dict[int, Line] = {}
    result: dict[int, Evaluation] = {}
    for row in rows:
        if "iteration" not in row:
            continue
        number = row["iteration"] + 1
        if "total_loss" in row:
            lines[number] = line_of(row, None, number)
        if metrics := metrics_of(row):
            result[number] = Evaluation(number, metrics)
    return Log(name, "detectron2", list(lines.values()), [result[at] for at in sorted(result)])


NOT_VALUES = {"mode", "epoch", "iter", "iteration", "step", "time", "data_time", "memory"}


def line_of(row: Mapping[str, Any], epoch: int | None, iteration: int) -> Line:
    """A row about training; Detectron2's total loss is called `loss`, like everybody's."""
    values = {key: float(v) for key, v in row.items() if key not in NOT_VALUES and isinstance(v, (int, float))}
    if "total_loss" in values:
        values["loss"] = values["total_loss"]
    return Line(epoch, iteration, row.get("time"), row.get("data_time"), row.get("memory"), values)


def metrics_of(row: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of a row under the names that records use, in percent; without those that COCO gives as -1."""
    result = {}
    for key, value in row.items():
        if not isinstance(value, (int, float)) or value < 0:  # no object to measure on
            continue
        if match := FRACTION.fullmatch(key):
            result[AP_NAMES[match[1]] + PARTS[match[2]]] = float(value) * 100
        elif match := PERCENT.fullmatch(key):
            result[AP_NAMES[match[1]] + PARTS[match[2]]] = float(value)
        elif key in OTHERS:
            name, scale = OTHERS[key]
            result[name] = float(value) * scale
    return result


def summary(log: Log) -> dict[str, Any]:
    """Numbers of a run, None for what its log does not tell.

    Per epoch: seconds per iteration, averaged, of the fastest and of the slowest epoch, their spread, and how long an
    average epoch took (iterations times seconds). The first line of an epoch is left out of its average, as the
    reference's analyze_logs does, since workers are starting then.
    """
    times = [line.seconds for line in log.lines if line.seconds is not None]
    epochs = epoch_times(log)
    memory = [line.memory_mib for line in log.lines if line.memory_mib is not None]
    waits = [line.data_seconds for line in log.lines if line.data_seconds is not None]
    last = log.evaluations[-1].values if log.evaluations else {}
    best = {f"best_{k}": max(e.values[k] for e in log.evaluations if k in e.values) for k in last if k.endswith("_ap")}
    return {
        "epochs": len(epochs) or None,
        "iterations_per_epoch": log.epoch_length or None,
        **iteration_times(times),
        "data_time_s": fmean(waits) if waits else None,
        **epoch_numbers(epochs, log.epoch_length),
        "memory_mib": max(memory) if memory else None,
        **last,
        **best,
    }


def iteration_times(times: Sequence[float]) -> dict[str, float | None]:
    """Mean, median, spread and extremes of seconds per iteration."""
    names = (
        "iteration_s",
        "iteration_s_p50",
        "iteration_s_p95",
        "iteration_s_std",
        "iteration_s_min",
        "iteration_s_max",
    )
    if not times:
        return dict.fromkeys(names)
    import numpy as np

    p50, p95 = (float(np.percentile(times, p)) for p in (50, 95))
    return dict(zip(names, (fmean(times), p50, p95, pstdev(times), min(times), max(times))))


def epoch_times(log: Log) -> dict[int, float]:
    """Epoch -> mean seconds per iteration."""
    times: dict[int, list[float]] = {}
    for line in log.lines:
        if line.epoch is not None and line.seconds is not None:
            times.setdefault(line.epoch, []).append(line.seconds)
    return {epoch: fmean(values[1:] or values) for epoch, values in times.items()}


def epoch_numbers(epochs: Mapping[int, float], length: int) -> dict[str, float | int | None]:
    """Average, fastest and slowest epoch."""
    if not epochs:
        return {"epoch_s": None, "fastest_epoch": None, "slowest_epoch": None}
    fastest, slowest = min(epochs, key=lambda e: epochs[e]), max(epochs, key=lambda e: epochs[e])
    return {
        "epoch_s": fmean(epochs.values()) * length,
        "fastest_epoch": fastest,
        "fastest_epoch_s": epochs[fastest] * length,
        "slowest_epoch": slowest,
        "slowest_epoch_s": epochs[slowest] * length,
        "epoch_s_std": pstdev(epochs.values()) * length,
    }


def record(log: Log) -> Record:
    """What a log says, as a record; its samples are the curves."""
    curves: dict[str, list[float]] = {}
    for key in ("loss", "time", "lr", *sorted({k for e in log.evaluations for k in e.values if k.endswith("_ap")})):
        x, y = log.series(key)
        if y:
            curves |= {f"{key}_at": x, key: y}
    numbers = {key: value for key, value in summary(log).items() if value is not None}
    return Record(model=log.name, kind="log", protocol=log.kind, metrics=numbers, samples=curves)
