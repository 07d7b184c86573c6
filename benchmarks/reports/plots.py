"""Curves of training logs as a PNG image."""

from __future__ import annotations

from collections.abc import Sequence
from colorsys import hls_to_rgb
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.reports.training_logs import Log
from zoo.errors import UsageError
from zoo.system.atomic_write import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes


FAR_APART = 30  # curves of positive values whose largest is this many times the smallest have a logarithmic axis


def write(logs: Sequence[Log], keys: Sequence[str], path: Path) -> Path:
    """One panel for each key, one line for each log. Raises UsageError where nothing can be drawn."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError("plots need matplotlib: pip install matplotlib.") from None
    missing = [key for key in keys if not any(log.series(key)[1] for log in logs)]
    if missing:
        raise UsageError(f"no log has '{missing[0]}'; they have: {', '.join(names(logs))}.")
    figure = Figure(figsize=(9, 3.2 * len(keys)), layout="constrained")
    panels = figure.subplots(len(keys), 1, squeeze=False)[:, 0]
    for key, axes in zip(keys, panels):
        panel(axes, logs, key)
    figure.legend(handles=panels[0].get_lines(), loc="outside right upper", fontsize="small")
    with atomic_path(path) as part:
        figure.savefig(part, format="png", dpi=120)
    return path


def panel(axes: Axes, logs: Sequence[Log], key: str) -> None:
    """One key of all logs; a log without it has an empty line, so that colors are the same in all panels."""
    curves = [log.series(key) for log in logs]
    for number, (log, (x, y)) in enumerate(zip(logs, curves)):
        marker = "o" if len(x) < 50 else None
        axes.plot(x, y, color=color(number, len(logs)), marker=marker, markersize=3, linewidth=1, label=log.name)
    epochs = all(log.epoch_length for log in logs)
    axes.set(xlabel="epoch" if epochs else "iteration", ylabel=key)
    axes.grid(alpha=0.3)
    values = [value for _, y in curves for value in y]
    if min(values) > 0 and max(values) > FAR_APART * min(values):
        axes.set_yscale("log")


def color(number: int, total: int) -> str | tuple[float, float, float]:
    """The color of a line: matplotlib's own cycle up to ten lines, hues in a circle for more."""
    return f"C{number}" if total <= 10 else hls_to_rgb(number / total, 0.35 + 0.2 * (number % 2), 0.75)


def names(logs: Sequence[Log]) -> list[str]:
    """Everything that can be drawn."""
    result = {key for log in logs for line in log.lines for key in line.values}
    return sorted(result | {key for log in logs for e in log.evaluations for key in e.values} | {"time", "memory"})
