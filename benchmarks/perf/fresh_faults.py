"""A second set of faults and of healthy files for `bench doctor`, written after its rules and used for none of them.

    python -m benchmarks.perf.injected_faults --fresh --data DIR --predictions FILE

Faults come together with what files of real detectors have: rounding, thresholds, noise, images without detections.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Row = dict[str, Any]


def boxed(change: Any) -> Any:
    """A change of every box. change: x, y, w, h, and the image's height and width."""
    return lambda rows, facts: [
        row | {"bbox": [float(value) for value in change(*row["bbox"], *facts.sizes[row["image_id"]])]} for row in rows
    ]


def after(first: Any, then: Any) -> Any:
    """Two changes, one after the other."""
    return lambda rows, facts: then(first(rows, facts), facts)


def above(least: float) -> Any:
    """A score threshold."""
    return lambda rows, facts: [row for row in rows if row["score"] >= least]


def thinned(share: float) -> Any:
    """Some detections, whichever."""
    return lambda rows, facts: [row for row in rows if facts.random.random() < share]


def noisy(share: float) -> Any:
    """Boxes with noise, relative to their sizes."""

    def change(rows: list[Row], facts: Any) -> list[Row]:
        result = []
        for row in rows:
            x, y, w, h = row["bbox"]
            dx, dy, dw, dh = facts.random.normal(0, share, 4).tolist()
            result.append(row | {"bbox": [x + dx * w, y + dy * h, w * (1 + dw), h * (1 + dh)]})
        return result

    return change


def labeled(change: Any) -> Any:
    """A change of every category. change: its position, and the facts; None leaves the detection out."""

    def apply(rows: list[Row], facts: Any) -> list[Row]:
        position = {category: i for i, category in enumerate(facts.categories)}
        changed = [row | {"category_id": change(position[row["category_id"]], facts)} for row in rows]
        return [row for row in changed if row["category_id"] is not None]

    return apply


def permuted(rows: list[Row], facts: Any) -> list[Row]:
    """Classes in an order that nothing explains."""
    order = np.random.default_rng(77).permutation(len(facts.categories))
    return labeled(lambda position, facts: facts.categories[order[position]])(rows, facts)  # type: ignore[no-any-return]


def turned(quarters: int, each: int) -> Any:
    """Boxes of some images as if these had been turned, and their EXIF orientation ignored."""

    def apply(rows: list[Row], facts: Any) -> list[Row]:
        chosen, result = set(facts.images[1::each]), []
        for row in rows:
            (x, y, w, h), (height, width) = row["bbox"], facts.sizes[row["image_id"]]
            box = [width - x - w, height - y - h, w, h] if quarters == 2 else [height - y - h, x, h, w]
            result.append(row | {"bbox": box} if row["image_id"] in chosen else row)
        return result

    return apply


def previous(rows: list[Row], facts: Any) -> list[Row]:
    """Each image's detections under the id of the one before it."""
    before = dict(zip(facts.images[1:], facts.images))
    return [row | {"image_id": before[row["image_id"]]} for row in rows if row["image_id"] in before]


def by_index(first: int) -> Any:
    """Images by their position in the file."""
    return lambda rows, facts: [row | {"image_id": facts.images.index(row["image_id"]) + first} for row in rows]


def shuffled_within_images(rows: list[Row], facts: Any) -> list[Row]:
    """Scores that belong to other boxes of the same image."""
    result: list[Row] = []
    for image in facts.images:
        own = [row for row in rows if row["image_id"] == image]
        scores = facts.random.permutation([row["score"] for row in own]).tolist()
        result += [row | {"score": score} for row, score in zip(own, scores)]
    return result


def at_most(count: int) -> Any:
    """The best detections of each image."""

    def apply(rows: list[Row], facts: Any) -> list[Row]:
        ordered = sorted(rows, key=lambda row: -row["score"])
        return [row for image in facts.images for row in [r for r in ordered if r["image_id"] == image][:count]]

    return apply


def network(side: int, how: str) -> Any:
    """Boxes in coordinates of the network's input."""

    def change(x: float, y: float, w: float, h: float, H: int, W: int) -> tuple[float, ...]:
        scale = side / max(H, W)
        if how == "stretch":
            return (x * side / W, y * side / H, w * side / W, h * side / H)
        left, top = ((max(H, W) - s) / 2 if how == "centered" else 0.0 for s in (W, H))
        return ((x + left) * scale, (y + top) * scale, w * scale, h * scale)

    return boxed(change)


CORNERS = boxed(lambda x, y, w, h, H, W: (round(x), round(y), round(x + w), round(y + h)))
FAULTS: dict[str, tuple[tuple[str, ...], Any]] = {
    "whole corners, threshold 0.05": (("xyxy",), after(above(0.05), CORNERS)),
    "centers, half of the detections": (
        ("center",),
        after(thinned(0.5), boxed(lambda x, y, w, h, H, W: (x + w / 2, y + h / 2, w, h))),
    ),
    "corners, y first, noisy": (
        ("yxyx",),
        after(noisy(0.03), boxed(lambda x, y, w, h, H, W: (y, x, y + h, x + w))),
    ),
    "y first, rounded": (("yxhw",), boxed(lambda x, y, w, h, H, W: (round(y), round(x), round(h), round(w)))),
    "fractions of three digits": (
        ("normalized",),
        boxed(lambda x, y, w, h, H, W: (round(x / W, 3), round(y / H, 3), round(w / W, 3), round(h / H, 3))),
    ),
    "centers as fractions": (
        ("center-normalized",),
        boxed(lambda x, y, w, h, H, W: ((x + w / 2) / W, (y + h / 2) / H, w / W, h / H)),
    ),
    "corners, y first, as fractions": (
        ("yxyx-normalized",),
        boxed(lambda x, y, w, h, H, W: (y / H, x / W, (y + h) / H, (x + w) / W)),
    ),
    "percent of the image": (
        ("of-100",),
        boxed(lambda x, y, w, h, H, W: (100 * x / W, 100 * y / H, 100 * w / W, 100 * h / H)),
    ),
    "letterbox of 512": (("input-512-letterbox",), network(512, "letterbox")),
    "letterbox of 1280, thinned": (("input-1280-letterbox",), after(thinned(0.7), network(1280, "letterbox"))),
    "stretched to 512, noisy": (("input-512-stretch",), after(noisy(0.03), network(512, "stretch"))),
    "centered in 640": (("input-640-centered",), network(640, "centered")),
    "stretch undone as a letterbox": (
        ("stretch-as-letterbox",),
        boxed(lambda x, y, w, h, H, W: (x * max(H, W) / W, y * max(H, W) / H, w * max(H, W) / W, h * max(H, W) / H)),
    ),
    "letterbox undone as a stretch, noisy": (
        ("letterbox-as-stretch",),
        after(
            noisy(0.04),
            boxed(
                lambda x, y, w, h, H, W: (x * W / max(H, W), y * H / max(H, W), w * W / max(H, W), h * H / max(H, W))
            ),
        ),
    ),
    "upside down": (("upside-down",), boxed(lambda x, y, w, h, H, W: (x, H - y - h, w, h))),
    "mirrored, threshold 0.1": (
        ("mirrored",),
        after(above(0.1), boxed(lambda x, y, w, h, H, W: (W - x - w, y, w, h))),
    ),
    "shifted up and left by 16 pixels": (("shifted",), boxed(lambda x, y, w, h, H, W: (x - 16, y - 16, w, h))),
    "boxes 1.4 times as large": (
        ("scaled",),
        boxed(lambda x, y, w, h, H, W: (x - 0.2 * w, y - 0.2 * h, 1.4 * w, 1.4 * h)),
    ),
    "half a turn ignored in every second image": (("exif",), turned(2, 2)),
    "a quarter to the right ignored in every third image": (("exif",), turned(1, 3)),
    "labels from 0, thinned": (("labels-from-0",), after(thinned(0.6), labeled(lambda position, facts: position))),
    "labels from 1, the best 20": (("labels-from-1",), after(at_most(20), labeled(lambda p, facts: p + 1))),
    "another order": (("other-order",), permuted),
    "classes reversed": (("reversed",), labeled(lambda p, facts: facts.categories[-1 - p])),
    "images by index from 1": (("image-index-from-1", "image-name-index-from-1"), by_index(1)),
    "images one back": (("image-shift",), previous),
    "the first quarter of the images": (
        ("missing-images",),
        lambda rows, facts: [r for r in rows if r["image_id"] in set(facts.images[: len(facts.images) // 4])],
    ),
    "scores negated": (("inverted-scores",), lambda rows, facts: [r | {"score": -r["score"]} for r in rows]),
    "scores of other boxes in the image": (("unrelated-scores",), shuffled_within_images),
    "every detection written twice": (
        ("no-nms", "copies"),
        lambda rows, facts: [one for row in rows for one in (row, dict(row))],
    ),
}
HEALTHY: dict[str, Any] = {
    "threshold 0.01": above(0.01),
    "threshold 0.03": above(0.03),
    "the best 70": at_most(70),
    "the best 200": at_most(200),
    "75% of the detections": thinned(0.75),
    "90% of the detections": thinned(0.9),
    "boxes 2% less exact": noisy(0.02),
    "boxes 5% less exact": noisy(0.05),
    "boxes cut at the image": boxed(
        lambda x, y, w, h, H, W: (max(x, 0), max(y, 0), min(x + w, W) - max(x, 0), min(y + h, H) - max(y, 0))
    ),
    "one pixel to the right": boxed(lambda x, y, w, h, H, W: (x + 1, y, w, h)),
    "one pixel up": boxed(lambda x, y, w, h, H, W: (x, y - 1, w, h)),
    "one pixel wider": boxed(lambda x, y, w, h, H, W: (x, y, w + 1, h + 1)),
    "3% smaller": boxed(lambda x, y, w, h, H, W: (x + 0.015 * w, y + 0.015 * h, 0.97 * w, 0.97 * h)),
    "rounded down": boxed(lambda x, y, w, h, H, W: (int(x), int(y), int(w), int(h))),
    "square roots of the scores": lambda rows, facts: [r | {"score": max(r["score"], 0.0) ** 0.5} for r in rows],
    "scores as odds": lambda rows, facts: [r | {"score": r["score"] / (1.0001 - r["score"])} for r in rows],
    "scores of three digits": lambda rows, facts: [r | {"score": round(r["score"], 3)} for r in rows],
    "scores halved": lambda rows, facts: [r | {"score": r["score"] / 2} for r in rows],
    "best first": lambda rows, facts: sorted(rows, key=lambda row: -row["score"]),
    "image by image, backwards": lambda rows, facts: sorted(rows, key=lambda row: -row["image_id"]),
}
