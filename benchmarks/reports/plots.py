"""Curves of training logs as a PNG image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.reports.training_logs import Log
from zoo.errors import UsageError
from zoo.system.atomic_write import atomic_path


def write(logs: Sequence[Log], keys: Sequence[str], path: Path) -> Path:
    """One panel for each key, one line for each log. Raises UsageError where nothing can be drawn."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError("plots need matplotlib: pip install matplotlib.") from None
    missing = [key for key in keys if not any(log.series(key)[1] for log in logs)]
    if missing:
        raise UsageError(f"no log has '{missing[0]}'; they have: {', '.join(names(logs))}.")
    figure = Figure(figsize=(8, 3.2 * len(keys)), layout="constrained")
    for key, axes in zip(keys, figure.subplots(len(keys), 1, squeeze=False)[:, 0]):
        for log in logs:
            x, y = log.series(key)
            axes.plot(x, y, marker="o" if len(x) < 50 else None, markersize=3, linewidth=1, label=log.name)
        epochs = all(log.epoch_length for log in logs)
        axes.set(xlabel="epoch" if epochs else "iteration", ylabel=key)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    with atomic_path(path) as part:
        figure.savefig(part, format="png", dpi=120)
    return path


def names(logs: Sequence[Log]) -> list[str]:
    """Everything that can be drawn."""
    result = {key for log in logs for line in log.lines for key in line.values}
    return sorted(result | {key for log in logs for e in log.evaluations for key in e.values} | {"time", "memory"})
