"""Which category of an annotation file each label of a model stands for: the one of its name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.datasets.files import DatasetError
from benchmarks.datasets.request import MetricConfig
from zoo.coco_format.annotations import CocoCategory, shadowed

SHOWN = 5


class Matched(NamedTuple):
    """categories: for each label the index of its category, None for a class that the file lacks.

    notices: sentences that a reader of the numbers has to know.
    """

    categories: list[int | None]
    notices: list[str]


def match(categories: Sequence[CocoCategory], request: MetricConfig, path: Path, sort: bool = False) -> Matched:
    """The category of each label; where the model's class names are unknown, in the file's order.

    sort: that order is by id. Raises DatasetError where the classes are not those of the model; a class that the file
    lacks is None where the request is for those that are present.
    """
    if request.classes is not None:
        return by_name(categories, request.classes, path, request.present_classes)
    indices = sorted(range(len(categories)), key=lambda i: categories[i].id if sort else i)  # type: ignore[return-value,arg-type]
    indices = [i for i in indices if not shadowed(i, categories)]
    if request.outputs is not None and request.outputs != len(indices):
        raise DatasetError(
            f"{path} has {len(indices)} classes, the network tells {request.outputs} apart, and its checkpoint does "
            "not name them."
        )
    unnamed = f"The checkpoint does not name its classes: labels stand for the categories in the order of {path}."
    return Matched(list(indices), [] if request.predictions else [unnamed])


def by_name(categories: Sequence[CocoCategory], classes: Sequence[str], path: Path, present: bool) -> Matched:
    """The same for known class names."""
    if len(set(classes)) != len(classes):
        twice = next(name for name in classes if list(classes).count(name) > 1)
        raise DatasetError(f"the model has several classes called '{twice}', which {path} cannot tell apart.")
    indices = [named(name, categories, path) for name in classes]
    missing = [name for name, index in zip(classes, indices) if index is None]
    if missing and not (present and len(missing) < len(classes)):
        raise DatasetError(lacking(path, missing, classes))
    result = [index for index in indices if index is not None]
    notices = []
    if result != sorted(result):
        notices.append(f"{path} lists its categories in another order than the model its classes: they go by name.")
    if missing:
        notices.append(
            f"The numbers are of {len(result)} of the model's {len(classes)} classes: {path} lacks the others."
        )
    if others := [c.name for i, c in enumerate(categories) if c.used and i not in set(result)]:
        notices.append(
            f"{len(others)} classes of {path} do not count, since the model does not know them: {few(others)}."
        )
    return Matched(indices, notices)


def named(name: str, categories: Sequence[CocoCategory], path: Path) -> int | None:
    """The index of the category called `name`. One that nothing uses does not count beside another."""
    indices = [i for i, category in enumerate(categories) if category.name.strip() == name.strip()]
    used = [i for i in indices if categories[i].used] or indices[:1]
    if len(used) > 1:
        ids = " and ".join(str(categories[i].id) for i in used[:2])
        raise DatasetError(f"{path} has annotations of several categories called '{name}' (ids {ids}).")
    return used[0] if used else None


def lacking(path: Path, missing: Sequence[str], classes: Sequence[str]) -> str:
    """The sentence about classes that a file does not have."""
    what = f"{path} lacks {len(missing)} of the model's {len(classes)} classes ({few(missing)})"
    if len(missing) == len(classes):
        return f"{what}: the model was trained for another dataset."
    return f"{what}: the model was trained for another dataset, or evaluate the others with --classes present."


def few(names: Sequence[str]) -> str:
    """The first names of a list."""
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
