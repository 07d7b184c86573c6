"""The files of Open Images: CSV tables, a hierarchy of classes, and the text files of the 2019 challenge.

Every row that does not fit ends in a DatasetError with the file and the line.
"""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.datasets.files import DatasetError, read_json, read_text, require_file
from benchmarks.datasets.mean_ap import Bools, Floats
from benchmarks.datasets.request import ImageId
from zoo.coco_format.problems import shown

SIDES = ("XMin", "YMin", "XMax", "YMax")
GROUPS = {"0": False, "1": True, "-1": False}  # -1: nobody said


class Objects(NamedTuple):
    """What is in an image: boxes (M, 4) xyxy as shares of its width and height, labels (M,), groups (M,)."""

    boxes: Floats
    labels: np.ndarray
    groups: Bools


Row = tuple[list[float], int, bool]  # a box, its label, whether it is around a group


def bad(path: Path, line: int, sentence: str) -> DatasetError:
    """The error for a line of a file."""
    return DatasetError(f"{path}, line {line}: {sentence}.")


def table(path: Path, dataset: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of every row of a CSV file that is not blank."""
    reader = csv.reader(read_text(path, dataset).splitlines())
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield reader.line_num, row
    except csv.Error as error:
        raise bad(path, reader.line_num, str(error)) from None


def records(path: Path, dataset: str, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and cells by name of every row below a header that has `columns`."""
    rows = table(path, dataset)
    line, header = next(rows, (1, []))
    missing = [column for column in columns if column not in header]
    if missing:
        raise bad(path, line, f"there is no column {missing[0]}, but {shown(header)}")
    for line, row in rows:
        if len(row) < len(header):
            raise bad(path, line, f"{len(row)} cells, the header has {len(header)}")
        yield line, dict(zip(header, row))


def read_classes(path: Path, dataset: str) -> dict[str, str]:
    """Name of each class by its code, in label order, from rows of code and name."""
    classes: dict[str, str] = {}
    for line, row in table(path, dataset):
        if len(row) < 2 or row[0] in classes:
            raise bad(path, line, f"{shown(row)} is not a code and a name, or a code that occurred before")
        classes[row[0]] = row[1]
    return classes


def read_numbered_classes(path: Path, dataset: str) -> list[tuple[str, str]]:
    """Code and name of each class, in label order, from rows of code, name and number from 1."""
    numbered: dict[int, tuple[str, str]] = {}
    for line, row in table(path, dataset):
        if len(row) < 3 or not row[2].strip().isdecimal() or int(row[2]) in numbered:
            raise bad(path, line, f"{shown(row)} is not a code, a name and a number of its own")
        numbered[int(row[2])] = (row[0], row[1])
    if sorted(numbered) != list(range(1, len(numbered) + 1)):
        raise DatasetError(f"{path}: the numbers of the {len(numbered)} classes are not 1 to {len(numbered)}.")
    return [numbered[number] for number in sorted(numbered)]


def read_hierarchy(path: Path, index: Mapping[str, int], dataset: str) -> Bools:
    """(C, C): whether class j is class i or lies above it. The hierarchy's root, everything, is not a class."""
    above = np.eye(len(index), dtype=bool)

    def descend(node: Any, parents: list[int]) -> None:
        children = node.get("Subcategory", []) if isinstance(node, dict) else None
        if not isinstance(children, list):
            raise DatasetError(f"{path} is not a hierarchy of classes: {shown(node)} has no list of subcategories.")
        for child in children:
            code = child.get("LabelName") if isinstance(child, dict) else child
            if not isinstance(code, str) or code not in index:
                raise DatasetError(f"{path} is not the hierarchy of these classes: {shown(code)} is none of them.")
            above[index[code], parents] = True
            descend(child, [index[code], *parents])

    descend(read_json(path, dataset), [])
    return above


def read_relation(path: Path, classes: int, dataset: str) -> Bools:
    """The challenge's relation of classes, stored with a row and column for labels from 1."""
    try:
        stored = np.load(require_file(path, dataset), allow_pickle=False)
        relation = np.asarray(stored, np.float64)
    except (ValueError, EOFError, OSError, TypeError) as error:
        raise DatasetError(f"{path} is not a plain NumPy array: {error}.") from error
    if relation.shape != (classes + 1, classes + 1):
        raise DatasetError(f"{path} has shape {relation.shape}, {classes} classes need {(classes + 1, classes + 1)}.")
    return relation[1:, 1:] > 0


def read_boxes(path: Path, index: Mapping[str, int], dataset: str) -> dict[ImageId, Objects]:
    """Objects by image id, from a CSV file with a header."""
    rows: dict[ImageId, list[Row]] = defaultdict(list)
    for line, row in records(path, dataset, ("ImageID", "LabelName", "IsGroupOf", *SIDES)):
        if row["LabelName"] not in index:
            raise bad(path, line, f"{shown(row['LabelName'])} is none of the classes")
        if row["IsGroupOf"].strip() not in GROUPS:
            raise bad(path, line, f"IsGroupOf is {shown(row['IsGroupOf'])}, not 0 or 1")
        box = box_of([row[side] for side in SIDES], path, line)
        rows[row["ImageID"]].append((box, index[row["LabelName"]], GROUPS[row["IsGroupOf"].strip()]))
    return {image_id: objects_of(listed) for image_id, listed in rows.items()}


def box_of(cells: Sequence[str], path: Path, line: int) -> list[float]:
    """Four shares of width and height, left, top, right, bottom."""
    try:
        box = [float(cell) for cell in cells]
    except ValueError:
        box = []
    if len(box) != 4 or not all(math.isfinite(v) and -1 <= v <= 2 for v in box) or box[2] < box[0] or box[3] < box[1]:
        raise bad(path, line, f"{shown(list(cells))} are not left, top, right and bottom as shares of width and height")
    return box


def read_challenge(path: Path, classes: int, dataset: str) -> dict[str, Objects]:
    """Objects by file name. Per image: its name, a line that says nothing, a count, and `label x1 y1 x2 y2 group`."""
    lines, result, at = read_text(path, dataset).rstrip().splitlines(), {}, 0
    while at < len(lines):
        name = lines[at].strip()
        count = lines[at + 2].strip() if at + 2 < len(lines) else ""
        if not name or not count.isdecimal():
            raise bad(path, at + 1, f"{shown(name)} is not an image followed by a line and the number of its boxes")
        rows = lines[at + 3 : at + 3 + int(count)]
        if len(rows) < int(count):
            raise bad(path, at + 1, f"{name} has {count} boxes, the file ends after {len(rows)}")
        result[name] = objects_of([challenge_row(row, classes, path, at + 4 + i) for i, row in enumerate(rows)])
        at += 3 + int(count)
    return result


def challenge_row(text: str, classes: int, path: Path, line: int) -> Row:
    """One box."""
    cells = text.split()
    if len(cells) < 6 or not cells[0].isdecimal() or not 1 <= int(cells[0]) <= classes or cells[5] not in GROUPS:
        raise bad(path, line, f"{shown(text)} is not a label from 1 to {classes}, four numbers, and 0 or 1")
    return box_of(cells[1:5], path, line), int(cells[0]) - 1, GROUPS[cells[5]]


def objects_of(listed: Sequence[Row]) -> Objects:
    """Rows of (box, label, group) as arrays."""
    boxes = np.array([row[0] for row in listed], np.float32).reshape(-1, 4)
    labels = np.array([row[1] for row in listed], int)
    return Objects(boxes, labels, np.array([row[2] for row in listed], bool))


def read_verified(path: Path, index: Mapping[str, int], dataset: str) -> dict[ImageId, set[int]]:
    """The labels that people verified to be in an image or not to be in it, by image id."""
    verified: dict[ImageId, set[int]] = defaultdict(set)
    for line, row in records(path, dataset, ("ImageID", "LabelName")):
        if row["LabelName"] not in index:
            raise bad(path, line, f"{shown(row['LabelName'])} is none of the classes")
        verified[row["ImageID"]].add(index[row["LabelName"]])
    return verified
