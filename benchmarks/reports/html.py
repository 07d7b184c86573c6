"""One self-contained page: the whole zoo, sortable and filterable, with plots, and everything measured beside it.

The page needs no network: style, script, data and the plotting library (Plotly) are in the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from importlib import resources
from typing import TYPE_CHECKING

from benchmarks.reports import html_data
from benchmarks.reports.html_data import CURVES, Images
from benchmarks.results.record import Record, plain
from zoo.errors import UsageError

if TYPE_CHECKING:
    from zoo.manifest.api import Entry

__all__ = ["CURVES", "render"]

ASSETS = resources.files("benchmarks.reports") / "assets"
SCRIPTS = ("page.js", "table.js", "plot.js", "model.js", "start.js")


def render(entries: Sequence[Entry], records: Sequence[Record], images: Images | None = None) -> str:
    """The page. images: of detections, per model. Raises UsageError without the plotting library."""
    data = html_data.content(entries, records, images or {})
    parts = {
        "STYLE": asset("report.css"),
        "SCRIPT": "\n".join(asset(name) for name in SCRIPTS),
        "PLOTLY": plotly(),
        "DATA": json.dumps(plain(data), separators=(",", ":")).replace("<", "\\u003c"),
    }
    # One pass over the template, so that nothing in a part is taken for a place of another.
    return re.sub(r"/\*(STYLE|SCRIPT|PLOTLY|DATA)\*/", lambda result: parts[result[1]], asset("report.html"))


def asset(name: str) -> str:
    """A file of the page."""
    return (ASSETS / name).read_text(encoding="utf-8")


def plotly() -> str:
    """The plotting library's script."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise UsageError("the HTML report needs plotly: pip install plotly") from None
    return get_plotlyjs()
