"""The models as a plain HTML table, for browsers without scripts and for search engines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from typing import Any

Model = Mapping[str, Any]
NO_LINK: Callable[[str], str | None] = lambda name: None  # noqa: E731  # a constant with a type


def table(data: Mapping[str, Any], address: Callable[[str], str | None] = NO_LINK) -> str:
    """All models of the page's data in the order of names, each with its published and measured numbers.

    address: where a model has a page of its own, if it has. Columns in which no model has anything are left out.
    """
    columns = [column for column in columns_of(data) if any(text_of(m, *column) for m in data["models"])]
    heads = "".join(f'<th scope="col"{number(digits)}>{escape(title)}</th>' for _, title, digits in columns)
    models = sorted(data["models"], key=lambda model: str(model["name"]))
    rows = "\n".join(row(model, columns, address(str(model["name"]))) for model in models)
    return (
        '<main><p>Sorting, filters and plots need JavaScript; the numbers are all here.</p><div class="scroll fit">'
        f'<table><thead><tr><th scope="col">Model</th>{heads}</tr></thead>\n<tbody>{rows}</tbody></table></div></main>'
    )


def columns_of(data: Mapping[str, Any]) -> list[tuple[str, str, int | None]]:
    """Key, title, and decimals of each column; None for text."""
    metrics: Mapping[str, str] = data["metrics"]
    return [
        *((key, title, 1) for key, title in metrics.items()),
        ("fps", "fps", 1),
        ("hardware", "fps on", None),
        *((f"measured_{key}", f"{title} here", 1) for key, title in metrics.items()),
        ("measured_fps", "fps here", 2),
        ("measured_mib", "MiB here", 0),
        ("measured_on", "here on", None),
        ("params", "Parameters", 0),
        ("family", "Family", None),
        ("dataset", "Dataset", None),
    ]


def row(model: Model, columns: list[tuple[str, str, int | None]], address: str | None) -> str:
    """One model."""
    name = breakable(str(model["name"]))
    head = f'<a href="{escape(address)}">{name}</a>' if address else name
    cells = "".join(f"<td{number(column[2])}>{escape(text_of(model, *column))}</td>" for column in columns)
    return f'<tr><th scope="row">{head}</th>{cells}</tr>'


def text_of(model: Model, key: str, title: str, digits: int | None) -> str:
    """A cell's text, empty where nothing is known."""
    value = model.get(key)
    if value is None:
        return ""
    return str(value) if digits is None else f"{value:,.{digits}f}"


def number(digits: int | None) -> str:
    """The class of a cell with a number."""
    return "" if digits is None else ' class="number"'


def breakable(name: str) -> str:
    """A name as HTML that breaks after its underscores and slashes."""
    return escape(name).replace("_", "_<wbr>").replace("/", "/<wbr>")
