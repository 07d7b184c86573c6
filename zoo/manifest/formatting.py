"""Manifest objects as plain data and as text for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from zoo.manifest.entry import Entry


def plain(value: Any) -> Any:
    """A value of the manifests as what JSON can say, with the fields in their order."""
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def entry_lines(entry: Entry) -> list[str]:
    """Everything about a model, one `label: value` a line; what is not known is left out."""
    lines = [entry.name]
    for field in fields(entry):
        if field.name != "name":
            lines += _labeled(field.name.replace("_", " "), getattr(entry, field.name), "  ")
    return lines


def _labeled(label: str, value: Any, indent: str) -> list[str]:
    value = plain(value)
    if value in (None, [], {}, ""):
        return []
    if isinstance(value, dict):
        inside = [line for key, item in value.items() for line in _labeled(key, item, indent + "  ")]
        return [f"{indent}{label}:", *inside] if inside else []
    if isinstance(value, list) and any(isinstance(item, dict) or len(str(item)) > 40 for item in value):
        return [f"{indent}{label}:", *(f"{indent}  - {one_line(_without_urls(item))}" for item in value)]
    return [f"{indent}{label}: {one_line(value)}"]


def _without_urls(value: Any) -> Any:
    """Where a superseded file lies on every mirror follows from its path."""
    return {key: item for key, item in value.items() if key != "urls"} if isinstance(value, dict) else value


def one_line(value: Any) -> str:
    """Plain data in one line, without quotes and brackets where they are not needed."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_cell(key, item)}" for key, item in value.items() if item is not None)
    if isinstance(value, list):
        return ", ".join(one_line(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)


def _cell(key: str, value: Any) -> str:
    """A pair of pixels reads as 800 x 1333."""
    return " x ".join(map(str, value)) if key in ("resolution", "scale", "size") else one_line(value)


def table(rows: list[list[str]]) -> list[str]:
    """Columns padded to their widest cell, two spaces apart."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
