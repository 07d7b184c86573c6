"""Where detections go: tables, CSV and COCO results on stdout; COCO and YOLO files; drawings."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TextIO

from tqdm import tqdm

from zoo.cli.detection.inputs import Frame
from zoo.cli.detection.rows import Row
from zoo.coco_format.results import category_ids
from zoo.system.atomic_write import atomic_write

COLUMNS = ("file", "frame", "category_id", "category", "score", "x", "y", "width", "height")
Size = tuple[int, int]


class Output(Protocol):
    """Takes the rows of one image after another, with the image's (height, width); `close` ends it."""

    def add(self, frame: Frame, size: Size, rows: Sequence[Row]) -> None: ...

    def close(self) -> None: ...


class Table:
    """One line per detection on stdout, at once: file, class, score ("-" for segments), box as x, y, width, height."""

    def add(self, frame: Frame, size: Size, rows: Sequence[Row]) -> None:
        """Print an image's detections."""
        for row in rows:
            score = f"{row['score']:.3f}" if "score" in row else "-"
            line = (frame.name, row["category"], score, " ".join(f"{v:.1f}" for v in row["bbox"]))
            tqdm.write("\t".join(line), file=sys.stdout)

    def close(self) -> None:
        """Nothing is left to print."""


class Csv:
    """A header, and one line per detection on stdout, at once."""

    def __init__(self) -> None:
        self.writer = csv.writer(Lines(sys.stdout), lineterminator="\n")
        self.writer.writerow(COLUMNS)

    def add(self, frame: Frame, size: Size, rows: Sequence[Row]) -> None:
        """Print an image's detections."""
        for row in rows:
            score = f"{row['score']:.6g}" if "score" in row else ""
            box = (f"{value:.2f}" for value in row["bbox"])
            self.writer.writerow((row["file"], row.get("frame", ""), row["category_id"], row["category"], score, *box))

    def close(self) -> None:
        """Nothing is left to print."""


class Lines:
    """A stream beside a progress bar."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> None:
        """Write one line."""
        tqdm.write(text, file=self.stream, end="")


class Results:
    """COCO results as one JSON list on stdout, at the end."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def add(self, frame: Frame, size: Size, rows: Sequence[Row]) -> None:
        """Keep an image's detections."""
        self.rows += rows

    def close(self) -> None:
        """Print all of them."""
        print(json.dumps(self.rows))


class CocoFile:
    """A file in COCO's annotation format (https://cocodataset.org/#format-data), for labeling tools and training.

    Images are numbered from 1. Annotations have a `score`, and masks as run lengths.
    """

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self.path = path
        categories = [{"id": number, "name": name} for number, name in zip(category_ids(names), names)]
        self.document: dict[str, list[dict[str, Any]]] = {"images": [], "annotations": [], "categories": categories}

    def add(self, frame: Frame, size: Size, rows: Sequence[Row]) -> None:
        """One image with its detections."""
        images, annotations = self.document["images"], self.document["annotations"]
        number = len(images) + 1
        images.append({"id": number, "file_name": frame.name, "height": size[0], "width": size[1]})
        for row in rows:
            self.declare(row)
            annotations.append({"id": len(annotations) + 1, **annotation(row), "image_id": number})

    def declare(self, row: Row) -> None:
        """The category of a label without a name."""
        categories = self.document["categories"]
        if all(category["id"] != row["category_id"] for category in categories):
            categories.append({"id": row["category_id"], "name": row["category"]})

    def close(self) -> None:
        """Write the file."""
        atomic_write(self.path, json.dumps(self.document), parents=True)


def annotation(row: Row) -> dict[str, Any]:
    """A row of COCO results as an annotation."""
    from zoo.coco_format.segmentation import area

    kept: dict[str, Any] = {key: row[key] for key in ("category_id", "bbox", "score", "segmentation") if key in row}
    mask = row.get("segmentation")
    size = area(mask) if mask is not None else row["bbox"][2] * row["bbox"][3]
    if "keypoints" in row:
        kept |= visible_keypoints(row["keypoints"])
    return {**kept, "area": size, "iscrowd": 0}


def visible_keypoints(values: Sequence[float]) -> dict[str, Any]:
    """Keypoints as annotations have them: x, y, and 2 for visible in place of a score."""
    points = [2 if index % 3 == 2 else value for index, value in enumerate(values)]
    return {"keypoints": points, "num_keypoints": len(points) // 3}


class YoloFolder:
    """YOLO's labels: a text file per image, `label x y width height` a line, centers and sides relative to the image.

    files: a name for each source. Frames of a video have their number behind the name. Images without detections have
    an empty file, and `classes.txt` lists the classes.
    """

    def __init__(self, folder: Path, names: Sequence[str], files: dict[Any, str]) -> None:
        self.folder, self.files = folder, files
        self.labels = {number: label for label, number in enumerate(category_ids(names))}
        folder.mkdir(parents=True, exist_ok=True)
        atomic_write(folder / "classes.txt", "".join(f"{name}\n" for name in names))

    def add(self, frame: Frame, size: Size, rows: Sequence[Row]) -> None:
        """Write an image's file."""
        stem = self.files[frame.source].removesuffix(".txt")
        name = stem if frame.number is None else f"{stem}_{frame.number:06d}"
        lines = (self.line(row, size) for row in rows)
        atomic_write(self.folder / f"{name}.txt", "".join(f"{line}\n" for line in lines))

    def line(self, row: Row, size: Size) -> str:
        """One detection. A class without a name keeps its number."""
        (x, y, width, height), (rows, columns) = row["bbox"], size
        label = self.labels.get(row["category_id"], row["category_id"] - bool(self.labels))
        values = ((x + width / 2) / columns, (y + height / 2) / rows, width / columns, height / rows)
        return f"{label} " + " ".join(f"{value:.6f}" for value in values)

    def close(self) -> None:
        """All files are written."""
