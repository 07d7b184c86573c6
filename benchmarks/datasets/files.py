"""Files of a dataset: each reader's complaints say which file was expected where."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoo.coco_format.annotations import read_json as read_any_json
from zoo.errors import DataError as DatasetError
from zoo.errors import UsageError

__all__ = ["DatasetError", "UnknownDataset", "missing", "read_json", "read_text", "require_file", "require_folder"]


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
        return require_file(path, dataset).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} cannot be read as text: {error}.") from error


def read_json(path: Path, dataset: str, keys: Sequence[str] = ()) -> Any:
    """The JSON document in `path`, an object that has all `keys`."""
    document = read_any_json(require_file(path, dataset))
    missing = [key for key in keys if not isinstance(document, dict) or key not in document]
    if missing:
        raise DatasetError(f"{path} has no '{missing[0]}': it is not an annotation file of {dataset}.")
    return document
