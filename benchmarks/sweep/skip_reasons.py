"""Jobs of a sweep that are not tried, on purpose: what they need was never published, or is not on this machine."""

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
    from benchmarks.datasets.spec import Spec


def options(job: Job) -> argparse.Namespace:
    """The job's options as its benchmark understands them. Raises UsageError for one that it does not know."""
    parser = Parser(prog=f"bench {job.kind}")
    import_module(f"benchmarks.cli.commands.{job.kind}").configure(parser)
    return parser.parse_args([job.model, *job.options])


def reason(job: Job, here: bool = True) -> str | None:
    """Why a job cannot give a measurement; None where it can be tried. here: whether it runs on this machine."""
    if job.kind == "parity":
        return without_reference(job.model)
    if needs_weights(job) and api.get(job.model).checkpoint is None:
        return "no weights were published"
    return without_data(job) if here and job.kind == "accuracy" else None


def needs_weights(job: Job) -> bool:
    """Whether the job measures published weights."""
    if job.kind == "parity":
        return False
    given = options(job)
    return not getattr(given, "random_weights", False) and getattr(given, "checkpoint", None) is None


def without_reference(model: str) -> str | None:
    """Nothing to compare with."""
    from benchmarks.parity import reference

    try:
        reference.read(model)
    except ZooError as error:
        return str(error)
    return None


def without_data(job: Job) -> str | None:
    """The first file or folder of the dataset's layout that is not there."""
    from benchmarks.datasets.catalog import spec

    given = options(job)
    one = spec(given.dataset or api.get(job.model).dataset)
    root = Path(given.data or one.root)
    missing = next((path for path in [root, *expected(one, root, given.split)] if not path.exists()), None)
    return None if missing is None else f"{missing} does not exist"


def expected(one: Spec, root: Path, split: str | None) -> list[Path]:
    """The paths of a layout that stand for themselves."""
    return [root / path for path in one.with_split(one.layout, split) if not set(path) & set("*{")]
