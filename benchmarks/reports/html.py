"""One self-contained page: the whole zoo, sortable and filterable, with plots, and everything measured beside it.

The page needs no network: style, script, data and the plotting library (Plotly) are in the file. The latter two are
compressed, and the library is unpacked when a plot is looked at for the first time.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

from benchmarks.reports import html_data, static_table
from benchmarks.reports.html_data import CURVES, Images
from benchmarks.results.record import Record, plain
from zoo.errors import UsageError

if TYPE_CHECKING:
    from zoo.manifest.api import Entry

__all__ = ["CURVES", "render"]

ASSETS = resources.files("benchmarks.reports") / "assets"
SCRIPTS = ("page.js", "table.js", "plot.js", "model.js", "start.js")
PLACEHOLDERS = re.compile(r"/\*(STYLE|SCRIPT|PLOTLY|SOURCE|DATA|STATIC)\*/")


def render(entries: Sequence[Entry], records: Sequence[Record], images: Images | None = None) -> str:
    """The page. images: of detections, per model. Raises UsageError without the plotting library."""
    data = html_data.content(entries, records, images or {})
    return page(data, static_table.table(data), plotly=packed(plotly()))


def page(data: Mapping[str, Any], static: str, plotly: str = "", source: str = "") -> str:
    """The page of some data.

    static: HTML for browsers without scripts. plotly: the packed library; source: or the address of its file.
    """
    parts = {
        "STYLE": asset("report.css"),
        "SCRIPT": "\n".join(asset(name) for name in SCRIPTS),
        "PLOTLY": plotly,
        "SOURCE": f' data-src="{source}"' if source else "",
        "DATA": packed(as_json(data)),
        "STATIC": static,
    }
    # One pass over the template, so that nothing in a part is taken for a placeholder of another.
    return PLACEHOLDERS.sub(lambda result: parts[result[1]], asset("report.html"))


def as_json(data: Any) -> str:
    """Plain data as compact JSON; what JSON cannot say, such as NaN, is null."""
    return json.dumps(plain(data), separators=(",", ":"))


def packed(text: str) -> str:
    """Text as gzip in base64, which `unpacked` of page.js reads. The same text is packed the same at any time."""
    return base64.b64encode(gzip.compress(text.encode("utf-8"), mtime=0)).decode("ascii")


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
