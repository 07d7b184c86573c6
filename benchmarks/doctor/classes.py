"""Mistakes in categories, each with the way back: ids in place of labels, another order, one too many."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from benchmarks.doctor.case import Case, Floats, Rows
from benchmarks.doctor.fit import grouped
from zoo.manifest import api

OVERLAP = 0.5  # of detections and objects that are taken for the same
SURE = 0.6  # share of a category's matches that one class must have
FEWEST = 3  # categories of a file that must be another class, before an unknown order is suspected


class ClassMistake(NamedTuple):
    """A mistake and the way back. numbers: category in the file -> number of the class it means."""

    key: str
    sentence: str
    numbers: dict[Any, int]


def mistakes(case: Case) -> Iterator[ClassMistake]:
    """The ways in which categories are known to be wrong."""
    numbers, names = list(case.category_ids.values()), case.names
    labels = "Categories are labels from {} in the order of the annotation file, not its category ids."
    yield ClassMistake("labels-from-0", labels.format(0), dict(enumerate(numbers)))
    yield ClassMistake("labels-from-1", labels.format(1), dict(enumerate(numbers, 1)))
    yield from shifted(case, numbers)
    ordered = np.argsort(names, kind="stable").tolist()
    by_name = [numbers[i] for i in ordered]
    ids = list(case.category_ids)
    sentence = "Classes are in alphabetical order, not in that of the annotation file"
    yield ClassMistake("alphabetical", f"{sentence}.", dict(zip(ids, by_name)))
    yield ClassMistake("alphabetical-labels-from-0", f"{sentence}, and counted from 0.", dict(enumerate(by_name)))
    yield ClassMistake("alphabetical-labels-from-1", f"{sentence}, and counted from 1.", dict(enumerate(by_name, 1)))
    yield ClassMistake("reversed", "Classes are in reverse order.", dict(zip(ids, numbers[::-1])))
    yield from by_published_ids(case)


def shifted(case: Case, numbers: list[int]) -> Iterator[ClassMistake]:
    """Categories one too low or too high, among the ids and among the classes."""
    for by, where in ((1, "low: the background was left out of the count"), (-1, "high: the background was counted")):
        ids = {i: case.category_ids.get(i + by, -1) for i in candidates(case, by)}
        yield ClassMistake(f"ids{by:+d}", f"Category ids are one too {where}.", ids)
        listed = list(case.category_ids)
        neighbors = {listed[i]: numbers[i + by] for i in range(len(listed)) if 0 <= i + by < len(listed)}
        yield ClassMistake(f"classes{by:+d}", f"Classes are one too {where}.", neighbors)


def candidates(case: Case, by: int) -> list[int]:
    """Numbers that an id of the file would be without a shift."""
    return [i - by for i in case.category_ids if isinstance(i, int)]


def by_published_ids(case: Case) -> Iterator[ClassMistake]:
    """COCO's own ids (1 to 90) for a file that counts the same classes otherwise."""
    classes = list(api.dataset("coco_2017").classes)
    if sorted(classes) != sorted(case.names):
        return
    number_of = dict(zip(case.names, case.category_ids.values()))
    published = dict(zip(COCO_IDS, (number_of[name] for name in classes)))
    yield ClassMistake("coco-ids", "Categories are COCO's ids (1 to 90), not those of the annotation file.", published)


# Numbers from 1 to 90 that COCO has not given to one of its 80 classes.
UNUSED = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
COCO_IDS = [i for i in range(1, 91) if i not in UNUSED]


def learned(case: Case, rows: Rows, table: Floats) -> ClassMistake | None:
    """Whatever order explains where the detections lie; None unless several categories clearly are another class.

    table: the rows with their boxes in the image, their positions in the file in the last column.
    """
    votes = votes_of(case, rows, table)
    numbers = dict(case.category_ids)
    clear = {}
    for category, counts in votes.items():
        best = max(counts, key=lambda number: counts[number])
        if counts[best] >= 2 and counts[best] >= SURE * sum(counts.values()):
            clear[category] = best
    moved = [category for category, number in clear.items() if numbers.get(category) != number]
    if len(moved) < FEWEST or 2 * len(moved) < len(clear):
        return None
    names = dict(zip(case.category_ids.values(), case.names))
    shown = ", ".join(f"{category} is {names[clear[category]]}" for category in moved[:3])
    sentence = f"Classes are in an order that is not the annotation file's: by where the boxes lie, {shown}, ..."
    return ClassMistake("other-order", sentence, numbers | clear)


def votes_of(case: Case, rows: Rows, table: Floats) -> dict[Any, dict[int, int]]:
    """Category in the file -> class of the object on which a detection lies -> how often, the best scores only."""
    objects, votes = case.objects, dict[Any, dict[int, int]]()
    own_of = grouped(objects)
    for number, indices in grouped(table).items():
        if number not in own_of:
            continue
        best = indices[np.argsort(-table[indices, 5], kind="stable")][: 2 * len(own_of[number])]
        for index, target in pairs(table[best, 1:5], objects[own_of[number], 1:5]):
            category = rows.category[int(table[best[index], 7])]
            counts = votes.setdefault(category, {})
            label = int(objects[own_of[number][target], 5])
            counts[label] = counts.get(label, 0) + 1
    return votes


def pairs(boxes: Floats, objects: Floats) -> Iterator[tuple[int, int]]:
    """Each box with the object that it overlaps most, where that is enough."""
    if not len(boxes) or not len(objects):
        return
    shared = coco_mask.iou(np.ascontiguousarray(boxes), np.ascontiguousarray(objects), [0] * len(objects))
    for index, row in enumerate(np.asarray(shared)):
        if row.max() >= OVERLAP:
            yield index, int(row.argmax())


def renumbered(mistake: ClassMistake, category: NDArray[Any]) -> Floats:
    """(N,) numbers of classes; -1 for those that mean none."""
    return np.array([mistake.numbers.get(one, -1) for one in category], np.float64)
