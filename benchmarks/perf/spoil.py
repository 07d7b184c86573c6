"""What may happen to a file of detections: changes of boxes, classes, images and scores, faults or not.

A change takes the rows of a file and `Facts` about its dataset, and returns new rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.datasets.coco import CocoDataset

Row = dict[str, Any]
Spoil = Callable[[list[Row], "Facts"], list[Row]]


class Facts:
    """What a change may need: sizes (h, w) and category ids by position, of an annotation file."""

    def __init__(self, dataset: CocoDataset) -> None:
        self.sizes = {image.id: size or (1, 1) for image, size in zip(dataset.file.images, dataset.sizes)}
        self.categories = [category.id for category in dataset.file.categories]
        self.names = {category.id: category.name for category in dataset.file.categories}
        self.images = list(self.sizes)
        self.file_names = {image.id: image.file_name for image in dataset.file.images}
        self.random = np.random.default_rng(0)


def after(*changes: Spoil) -> Spoil:
    """Changes one after the other."""

    def apply(rows: list[Row], facts: Facts) -> list[Row]:
        for change in changes:
            rows = change(rows, facts)
        return rows

    return apply


def boxes(change: Callable[..., tuple[float, ...]]) -> Spoil:
    """A change of every box. change: x, y, width, height, and the image's height and width."""
    return lambda rows, facts: [
        row | {"bbox": [float(value) for value in change(*row["bbox"], *facts.sizes[row["image_id"]])]} for row in rows
    ]


LAYOUTS: dict[str, Callable[..., tuple[float, ...]]] = {
    "": lambda x, y, w, h: (x, y, w, h),
    "xyxy": lambda x, y, w, h: (x, y, x + w, y + h),
    "center": lambda x, y, w, h: (x + w / 2, y + h / 2, w, h),
    "yxyx": lambda x, y, w, h: (y, x, y + h, x + w),
    "yxhw": lambda x, y, w, h: (y, x, h, w),
}
"""Key of `bench doctor` -> what the four numbers are, from x, y, width and height."""

MAPPED: dict[str, Callable[..., tuple[float, ...]]] = {
    "letterbox-as-stretch": lambda x, y, w, h, H, W: tuple(
        v * side / max(H, W) for v, side in zip((x, y, w, h), (W, H, W, H))
    ),
    "stretch-as-letterbox": lambda x, y, w, h, H, W: tuple(
        v * max(H, W) / side for v, side in zip((x, y, w, h), (W, H, W, H))
    ),
    "center-padding": lambda x, y, w, h, H, W: (x + (max(H, W) - W) / 2, y + (max(H, W) - H) / 2, w, h),
    "no-center-padding": lambda x, y, w, h, H, W: (x - (max(H, W) - W) / 2, y - (max(H, W) - H) / 2, w, h),
    "width-height": lambda x, y, w, h, H, W: (x * H / W, y * W / H, w * H / W, h * W / H),
}
"""Key of `bench doctor` -> a wrong way back from the network's input; arguments as for `boxes`."""


def layout(key: str, unit: float = 0) -> Spoil:
    """The four numbers in another layout of `LAYOUTS`. unit: what a whole side is, for shares; 0 for pixels."""

    def change(x: float, y: float, w: float, h: float, H: int, W: int) -> tuple[float, ...]:
        if unit:
            x, y, w, h = unit * x / W, unit * y / H, unit * w / W, unit * h / H
        return tuple(LAYOUTS[key](x, y, w, h))

    return boxes(change)


def about_centers(wider: float, higher: float) -> Spoil:
    """Boxes of other sizes, at the same positions."""
    return boxes(lambda x, y, w, h, H, W: (x + (1 - wider) * w / 2, y + (1 - higher) * h / 2, wider * w, higher * h))


def network(side: int, how: str) -> Spoil:
    """Boxes in coordinates of the network's input: "letterbox", "centered" or "stretch"."""

    def change(x: float, y: float, w: float, h: float, H: int, W: int) -> tuple[float, ...]:
        scale = side / max(H, W)
        if how == "stretch":
            return (x * side / W, y * side / H, w * side / W, h * side / H)
        left, top = ((max(H, W) - s) / 2 if how == "centered" else 0.0 for s in (W, H))
        return ((x + left) * scale, (y + top) * scale, w * scale, h * scale)

    return boxes(change)


def inexact(share: float) -> Spoil:
    """Boxes with noise, relative to their sizes."""

    def change(row: Row, facts: Facts) -> Row:
        x, y, w, h = row["bbox"]
        dx, dy, dw, dh = facts.random.normal(0, share, 4).tolist()
        return row | {"bbox": [x + dx * w, y + dy * h, w * float(np.exp(dw)), h * float(np.exp(dh))]}

    return lambda rows, facts: [change(row, facts) for row in rows]


def turned(quarters: int, each: int, first: int = 0) -> Spoil:
    """Boxes of every `each`-th image as if its EXIF orientation had been ignored. quarters: 1, 2 or 3 turns."""

    def change(row: Row, facts: Facts) -> Row:
        (x, y, w, h), (height, width) = row["bbox"], facts.sizes[row["image_id"]]
        box = {
            1: [height - y - h, x, h, w],
            2: [width - x - w, height - y - h, w, h],
            3: [y, width - x - w, h, w],
        }[quarters]
        return row | {"bbox": box}

    def apply(rows: list[Row], facts: Facts) -> list[Row]:
        chosen = set(facts.images[first::each])
        return [change(row, facts) if row["image_id"] in chosen else row for row in rows]

    return apply


def categories(change: Callable[[int, Facts], Any]) -> Spoil:
    """A change of every category. change: its position in the annotation file; None leaves the detection out."""

    def apply(rows: list[Row], facts: Facts) -> list[Row]:
        position = {category: i for i, category in enumerate(facts.categories)}
        changed = [row | {"category_id": change(position[row["category_id"]], facts)} for row in rows]
        return [row for row in changed if row["category_id"] is not None]

    return apply


def at(listed: list[Any], position: int) -> Any:
    """What stands at a position; None outside of the list."""
    return listed[position] if 0 <= position < len(listed) else None


def alphabetical(facts: Facts) -> list[Any]:
    """Category ids in the order of their names."""
    return sorted(facts.categories, key=lambda category: facts.names[category])


def identified(change: Callable[[int, Facts], Any]) -> Spoil:
    """A change of every image id. change: its position in the annotation file; None leaves the detections out."""

    def apply(rows: list[Row], facts: Facts) -> list[Row]:
        ids = {image: change(i, facts) for i, image in enumerate(facts.images)}
        return [row | {"image_id": ids[row["image_id"]]} for row in rows if ids[row["image_id"]] is not None]

    return apply


def scored(change: Callable[[float], float]) -> Spoil:
    """A change of every score."""
    return lambda rows, facts: [row | {"score": float(change(row["score"]))} for row in rows]


def uncertain(noise: float) -> Spoil:
    """Scores with noise, relative to themselves."""
    return lambda rows, facts: [
        row | {"score": float(row["score"] * np.exp(facts.random.normal(0, noise)))} for row in rows
    ]


def shuffled(rows: list[Row], facts: Facts) -> list[Row]:
    """Scores that belong to other boxes."""
    scores = facts.random.permutation([row["score"] for row in rows]).tolist()
    return [row | {"score": score} for row, score in zip(rows, scores)]


def shuffled_within_images(rows: list[Row], facts: Facts) -> list[Row]:
    """Scores that belong to other boxes of the same image."""
    return [one for image in facts.images for one in shuffled([r for r in rows if r["image_id"] == image], facts)]


def repeated(count: int, noise: float) -> Spoil:
    """So many more boxes around each. noise: of their positions, relative to their sizes; 0 makes exact copies."""

    def near(row: Row, facts: Facts) -> Row:
        if not noise:
            return dict(row)
        x, y, w, h = row["bbox"]
        dx, dy = facts.random.normal(0, noise, 2) * (w, h)
        return row | {"bbox": [x + dx, y + dy, w, h], "score": row["score"] * facts.random.uniform(0.7, 1)}

    return lambda rows, facts: [*rows, *(near(row, facts) for row in rows for _ in range(count))]


def above(least: float) -> Spoil:
    """A score threshold."""
    return lambda rows, facts: [row for row in rows if row["score"] >= least]


def some(share: float) -> Spoil:
    """Only some detections, whichever."""
    return lambda rows, facts: [row for row in rows if facts.random.random() < share]


def best(count: int) -> Spoil:
    """The best detections of each image."""

    def apply(rows: list[Row], facts: Facts) -> list[Row]:
        kept: dict[Any, int] = {}
        result = []
        for row in sorted(rows, key=lambda row: -row["score"]):
            kept[row["image_id"]] = kept.get(row["image_id"], 0) + 1
            if kept[row["image_id"]] <= count:
                result.append(row)
        return result

    return apply
