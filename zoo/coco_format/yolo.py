"""Labeled images in YOLO's format: a text file per image with a line per object.

A line is `label x y width height`, center and sides relative to the image, or `label x1 y1 x2 y2 x3 y3 ...`, a polygon.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from zoo.coco_format.image_files import image_size
from zoo.coco_format.labeled_images import LabeledBox, LabeledImage, LabeledImages, Size, file_names
from zoo.coco_format.problems import Problems
from zoo.errors import DataError
from zoo.system.atomic_write import atomic_write

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
BOX, POLYGON = 5, 7
"""Numbers of a line with a box, and the least of one with a polygon."""
SLACK = 1e-3
"""How far rounded coordinates may lie outside of the image, relative to its side."""
NAMES = ("classes.txt", "data.yaml", "data.yml", "dataset.yaml", "obj.names")


def read(folder: Path, images: Path | None = None, classes: Path | None = None) -> LabeledImages:
    """The boxes in a folder's `labels` (or in itself), of the images in its `images` (or in `images`).

    An image without a file has no objects. classes: a file of names, one a line, or a YAML file with `names`; by
    default the one that the folder has. Raises DataError, UnreadableImage.
    """
    labels = folder / "labels" if (folder / "labels").is_dir() else folder
    images = images or folder / "images"
    if not images.is_dir():
        raise DataError(f"{images} does not exist: YOLO's boxes are relative to images; name their folder (--images).")
    paths = sorted(path for path in images.rglob("*") if path.suffix.lower() in SUFFIXES)
    names = read_names(classes or names_file(folder))
    result = LabeledImages(names, [])
    used = set()
    for path in paths:
        name = path.relative_to(images)
        file = labels / name.with_suffix(".txt")
        used.add(file)
        width, height = image_size(path)
        boxes = read_labels(file, (height, width), len(names)) if file.exists() else []
        result.images.append(LabeledImage(name.as_posix(), (height, width), boxes))
    check_files(labels, used, images)
    return result


def check_files(labels: Path, used: set[Path], images: Path) -> None:
    """Raise DataError where label files have no image."""
    lists = {labels / name for name in (*NAMES, "train.txt", "val.txt", "test.txt")}
    strays = sorted(path for path in labels.rglob("*.txt") if path not in used | lists)
    if strays:
        raise DataError(f"{len(strays):,} label files have no image in {images}, {strays[0]} first.")


def names_file(folder: Path) -> Path:
    """The file with the names of classes. Raises DataError."""
    files = [path for base in (folder, folder.parent) for name in NAMES if (path := base / name).is_file()]
    if not files:
        raise DataError(f"{folder} has none of {', '.join(NAMES)}: name the file of class names (--classes).")
    return files[0]


def read_names(path: Path) -> list[str]:
    """Names of classes, one a line, or `names` of a YAML file: a list, or a mapping from numbers. Raises DataError."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        content: Any = yaml.safe_load(text) if path.suffix in (".yaml", ".yml") else {"names": text.splitlines()}
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from None
    except (yaml.YAMLError, ValueError) as error:
        raise DataError(f"{path} is not text of the expected kind: {error}.") from None
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict) and list(names) == list(range(len(names))):
        names = list(names.values())
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{path} has no `names`: a list of texts, or a mapping from 0, 1, ...")
    result = [name.strip() for name in names if name.strip()]
    if not result or len(set(result)) < len(result):
        raise DataError(f"{path} names no classes, or one of them twice.")
    return result


def read_labels(path: Path, size: Size, classes: int) -> list[LabeledBox]:
    """The objects of one file. size: of the image. Raises DataError with the first problems, each with its line."""
    problems, result = Problems(path), []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    for number, line in enumerate(lines, 1):
        if line.strip():
            values = numbers(line.split())
            if problem := fault(values, classes):
                problems.add(f"line {number}", problem)
            else:
                result.append(labeled(values, size))
    problems.check()
    return result


def numbers(words: Sequence[str]) -> list[float]:
    """Words as numbers; NaN for what is none."""
    return [number_of(word) for word in words]


def number_of(word: str) -> float:
    """A word as a number; NaN for what is none."""
    try:
        return float(word)
    except ValueError:
        return math.nan


def fault(values: Sequence[float], classes: int) -> str | None:
    """What is wrong with the numbers of a line; None for nothing."""
    polygon = len(values) >= POLYGON and len(values) % 2 == 1
    if not polygon and len(values) != BOX:
        return f"has {len(values)} numbers; a box has {BOX}, a polygon an odd number from {POLYGON} on"
    if not all(map(math.isfinite, values)):
        return "has a word that is not a finite number"
    if values[0] != int(values[0]) or not 0 <= values[0] < classes:
        return f"has the label {values[0]:g}; there are {classes} classes, from 0 on"
    if any(not -SLACK <= value <= 1 + SLACK for value in values[1:]):
        return "has a coordinate that is not from 0 to 1, relative to the image"
    return None


def labeled(values: Sequence[float], size: Size) -> LabeledBox:
    """The object of a line without a fault."""
    height, width = size
    label = int(values[0])
    if len(values) == BOX:
        x, y, w, h = values[1:]
        return LabeledBox(label, [(x - w / 2) * width, (y - h / 2) * height, w * width, h * height])
    xs, ys = [x * width for x in values[1::2]], [y * height for y in values[2::2]]
    polygon = [value for point in zip(xs, ys) for value in point]
    return LabeledBox(label, [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)], polygons=[polygon])


def write(data: LabeledImages, folder: Path, source: Path) -> None:
    """Write `labels`, `classes.txt` and `data.yaml`. Ignored objects, which YOLO does not know, are left out."""
    files = file_names(data.images, ".txt", source)
    for image, name in zip(data.images, files):
        lines = (line_of(one, image.size) for one in image.boxes if not one.ignored)
        atomic_write(folder / "labels" / name, "".join(f"{line}\n" for line in lines), parents=True)
    atomic_write(folder / "classes.txt", "".join(f"{name}\n" for name in data.classes), parents=True)
    facts = {"path": ".", "train": "images", "val": "images", "names": dict(enumerate(data.classes))}
    atomic_write(folder / "data.yaml", yaml.safe_dump(facts, sort_keys=False, allow_unicode=True))
    boxes = [one for image in data.images for one in image.boxes]
    data.note(sum(one.ignored for one in boxes), "crowds or difficult objects are left out: YOLO has none")
    data.note(sum(one.polygons is not None for one in boxes), "outlines are left out: only boxes are written")


def line_of(one: LabeledBox, size: Size) -> str:
    """One object, inside of the image."""
    height, width = size
    left, top = max(one.box[0] / width, 0.0), max(one.box[1] / height, 0.0)
    right, bottom = min((one.box[0] + one.box[2]) / width, 1.0), min((one.box[1] + one.box[3]) / height, 1.0)
    values = ((left + right) / 2, (top + bottom) / 2, max(right - left, 0.0), max(bottom - top, 0.0))
    return f"{one.label} " + " ".join(f"{value:.8g}" for value in values)
