"""Rows of a sweep that are not tried, on purpose: what they need was never published, or is not on this machine."""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.sweep.job import Job
from zoo.cli.parser import Parser
from zoo.errors import ZooError
from zoo.manifest import api

if TYPE_CHECKING:
    from benchmarks.datasets.catalog import Spec


def options(row: Job) -> argparse.Namespace:
    """The row's options as its benchmark understands them. Raises UsageError for one that it does not know."""
    parser = Parser(prog=f"bench {row.kind}")
    import_module(f"benchmarks.cli.commands.{row.kind}").configure(parser)
    return parser.parse_args([row.model, *row.options])


def reason(row: Job, here: bool = True) -> str | None:
    """Why a row cannot give a measurement; None where it can be tried. here: whether it runs on this machine."""
    if row.kind == "parity":
        return without_reference(row.model)
    if needs_weights(row) and api.get(row.model).checkpoint is None:
        return "no weights were published"
    return without_data(row) if here and row.kind == "accuracy" else None


def needs_weights(row: Job) -> bool:
    """Whether the row measures published weights."""
    if row.kind == "parity":
        return False
    given = options(row)
    return not getattr(given, "random_weights", False) and getattr(given, "checkpoint", None) is None


def without_reference(model: str) -> str | None:
    """Nothing to compare with."""
    from benchmarks.parity import reference

    try:
        reference.read(model)
    except ZooError as error:
        return str(error)
    return None


def without_data(row: Job) -> str | None:
    """The first file or folder of the dataset's layout that is not there."""
    from benchmarks.datasets.catalog import spec

    given = options(row)
    one = spec(given.dataset or api.get(row.model).dataset)
    root = Path(given.data or one.root)
    absent = next((path for path in [root, *expected(one, root, given.split)] if not path.exists()), None)
    return None if absent is None else f"{absent} does not exist"


def expected(one: Spec, root: Path, split: str | None) -> list[Path]:
    """The paths of a layout that stand for themselves."""
    return [root / path for path in one.with_split(one.layout, split) if not set(path) & set("*{")]
