"""Files of a dataset: each reader's complaints say which file was expected where."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoo.errors import UsageError, ZooError


class DatasetError(ZooError):
    """A dataset's folder lacks a file, or a file is not what the layout says; the message names it."""


class UnknownDataset(UsageError):
    """No dataset has this name."""


def missing(path: Path, dataset: str) -> DatasetError:
    """The error for a file or folder that is not there."""
    return DatasetError(f"{path} does not exist. `bench datasets {dataset}` shows the layout.")


def require_file(path: Path, dataset: str) -> Path:
    """`path`, which must be a file."""
    if not path.is_file():
        raise missing(path, dataset)
    return path


def require_folder(path: Path, dataset: str) -> Path:
    """`path`, which must be a folder."""
    if not path.is_dir():
        raise missing(path, dataset)
    return path


def read_text(path: Path, dataset: str) -> str:
    """The text of an annotation file."""
    try:
        return require_file(path, dataset).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} cannot be read as text: {error}.") from error


def read_json(path: Path, dataset: str, keys: Sequence[str] = ()) -> Any:
    """The JSON document in `path`, an object that has all `keys`."""
    try:
        document = json.loads(read_text(path, dataset))
    except ValueError as error:
        raise DatasetError(f"{path} is not valid JSON: {error}.") from error
    absent = [key for key in keys if not isinstance(document, dict) or key not in document]
    if absent:
        raise DatasetError(f"{path} has no '{absent[0]}': it is not an annotation file of {dataset}.")
    return document
