"""Curves of training logs as CSV, for spreadsheets and other plotting tools."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from benchmarks.reports.plots import names
from benchmarks.reports.training_logs import Log


def text(logs: Sequence[Log]) -> str:
    """A row for each number: log, key, unit of `at` (epoch or iteration), at, value; curve by curve."""
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    table.writerow(("log", "key", "unit", "at", "value"))
    for log in logs:
        unit = "epoch" if log.epoch_length else "iteration"
        for key in names([log]):
            table.writerows((log.name, key, unit, at, value) for at, value in zip(*log.series(key)))
    return file.getvalue()
