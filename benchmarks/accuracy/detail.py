"""`bench accuracy --detail DIR`: what is behind an AP, as JSON and drawings of the worst images."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.datasets import coco_detail
from benchmarks.datasets.coco import CocoDataset
from benchmarks.datasets.coco_errors import ImageErrors, Marked, errors
from benchmarks.datasets.coco_results import Results, Source
from benchmarks.datasets.dataset import Dataset
from zoo.errors import UnreadableImage, UsageError
from zoo.preprocessing.preprocess import read_image
from zoo.system.atomic_write import atomic_write
from zoo.visualization import draw
from zoo.visualization.label_layout import LabelLayout, around

WORST = 20  # images of the gallery
COLORS = {
    "object": (80, 200, 80),
    "true": (80, 200, 80),
    "class": (60, 60, 230),
    "localization": (0, 165, 255),
    "both": (200, 60, 200),
    "duplicate": (230, 200, 60),
    "background": (40, 40, 140),
    "missed": (230, 230, 230),
}  # BGR
GAP = 8  # pixels between ground truth and detections


def check(folder: Path, dataset: Dataset, measures: Sequence[str]) -> CocoDataset:
    """The dataset, where it has details and the folder can be written. Raises UsageError."""
    if not isinstance(dataset, CocoDataset):
        raise UsageError(f"--detail explains COCO's metric; {dataset.name} has one of its own.")
    if not set(measures) & {"box", "mask"}:
        raise UsageError("--detail explains box and mask AP; --measure asks for neither.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists already; --detail writes into a new or empty folder.")
    if not folder.absolute().parent.is_dir():
        raise UsageError(f"{folder.absolute().parent} is not a folder, {folder.name} cannot be made there.")
    return dataset


def write(
    folder: Path, dataset: CocoDataset, source: Callable[[str], Source], numbers: Sequence[int], title: str
) -> None:
    """Write `detail.json` and `worst/*.jpg`. source, numbers: as for `CocoDataset.score`."""
    measures = [one for one in dataset.request.measures if one in ("box", "mask")]
    parts = [coco_detail.detail(dataset.ground_truth, source(one), one, numbers) for one in measures]
    folder.mkdir(exist_ok=True)
    worst = worst_images(dataset, source("box"), numbers) if "box" in dataset.request.measures else []
    images = gallery(folder, dataset, worst)
    document = {"title": title, "images": len(numbers), "measures": parts, "worst": images}
    atomic_write(folder / "detail.json", json.dumps(document, indent=1))


def worst_images(dataset: CocoDataset, source: Source, numbers: Sequence[int]) -> list[ImageErrors]:
    """The images with the most errors."""
    annotations = defaultdict(list)
    for row in dataset.ground_truth["annotations"]:
        annotations[row["image_id"]].append(row)
    listed = [errors(number, annotations[number], table_of(source([number]))) for number in numbers]
    return sorted((one for one in listed if one.count), key=lambda one: -one.count)[:WORST]


def table_of(results: Results) -> Any:
    """(N, 7) boxes, whichever form results have."""
    if isinstance(results, np.ndarray):
        return results
    rows = [(row["image_id"], *row["bbox"], row["score"], row["category_id"]) for row in results]
    return np.array(rows, np.float64).reshape(-1, 7)


def gallery(folder: Path, dataset: CocoDataset, worst: Sequence[ImageErrors]) -> list[dict[str, Any]]:
    """Draw the images whose files exist; what is in each drawing."""
    paths = {dataset.number_of[image.id]: image.path for image in dataset.images}
    names = {row["id"]: row["name"] for row in dataset.ground_truth["categories"]}
    result = []
    for rank, one in enumerate(worst, 1):
        try:
            image = read_image(paths[one.number]) if paths[one.number].is_file() else None
        except UnreadableImage:
            image = None
        kinds = {kind: sum(box.kind == kind for box in one.detections) for kind in COLORS}
        entry: dict[str, Any] = {"image": paths[one.number].name, "errors": {k: n for k, n in kinds.items() if n}}
        if image is not None:
            (folder / "worst").mkdir(exist_ok=True)
            entry["file"] = f"worst/{rank:02d}_{Path(entry['image']).stem}.jpg"
            draw.save(side_by_side(image, one, names), folder / entry["file"])
        result.append(entry)
    return result


def side_by_side(image: draw.Canvas, one: ImageErrors, names: dict[int, str]) -> draw.Canvas:
    """Ground truth on the left, detections and what they lack on the right."""
    gap = np.full((image.shape[0], GAP, 3), 255, np.uint8)
    return np.concatenate([marked(image, one.objects, names), gap, marked(image, one.detections, names)], 1)


def marked(image: draw.Canvas, boxes: Sequence[Marked], names: dict[int, str]) -> draw.Canvas:
    """A copy with boxes in the colors of their kinds."""
    canvas = image.copy()
    corners = [tuple(round(v) for v in (x, y, x + w, y + h)) for x, y, w, h in (box.box for box in boxes)]
    for corner, box in zip(corners, boxes):
        draw.draw_box(canvas, corner, COLORS[box.kind])
    layout = LabelLayout(canvas.shape[:2])
    for (x1, y1, x2, y2), box in zip(corners, boxes):
        text = names.get(box.category, "?") + ("" if box.score is None else f" {box.score:.2f}")
        text += "" if box.kind in ("object", "true") else f" ({box.kind})"
        rectangle = (x1, y1, x2, y2)
        draw.write(canvas, text, COLORS[box.kind], layout, lambda w, h, r=rectangle: around(r, w, h))  # type: ignore[misc]
    return canvas
