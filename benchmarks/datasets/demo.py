"""The demonstration's dataset: colored shapes on textured backgrounds, with boxes and masks, in COCO's format.

The same seed gives the same images, bit for bit, on every machine: NumPy's RandomState is frozen, images are PNG,
and arithmetic is limited to operations that IEEE 754 rounds exactly.

    python -c "from benchmarks.datasets import demo; demo.write('data/demo')"
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from zoo.coco_format.results import encode_masks
from zoo.system.atomic_write import atomic_write

CLASSES = ("disk", "square", "triangle", "cross")
SPLITS = {"train": 400, "val": 100}
SEED = 20240607

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Scene(NamedTuple):
    """image: (H, W, 3) uint8. masks: (M, H, W), the visible part of each object. labels: M indices into CLASSES."""

    image: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    labels: list[int]


def write(folder: str | os.PathLike[str], splits: dict[str, int] | None = None, seed: int = SEED) -> Path:
    """Make the dataset: `annotations/instances_SPLIT.json` and the images in `SPLIT/`. Returns the folder.

    splits: how many images of each; a split's images do not depend on the other splits or on the number.
    """
    root = Path(folder)
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    for split, count in (splits or SPLITS).items():
        (root / split).mkdir(exist_ok=True)
        document = _write_split(root / split, count, seed + list(SPLITS).index(split))
        path = root / "annotations" / f"instances_{split}.json"
        atomic_write(path, json.dumps(document))
    return root


def _write_split(folder: Path, count: int, seed: int) -> dict[str, Any]:
    random = np.random.RandomState(seed)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number in range(1, count + 1):
        scene = make_scene(random)
        height, width = scene.image.shape[:2]
        images.append({"id": number, "file_name": f"{number:06d}.png", "height": height, "width": width})
        cv2.imwrite(str(folder / images[-1]["file_name"]), scene.image)
        annotations += _rows(scene, number, len(annotations) + 1)
    categories = [{"id": i, "name": name} for i, name in enumerate(CLASSES, 1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def _rows(scene: Scene, image: int, first: int) -> list[dict[str, Any]]:
    outlines = encode_masks(scene.masks)
    rows = []
    for offset, (mask, label, rle) in enumerate(zip(scene.masks, scene.labels, outlines)):
        x, y = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
        box = [int(x[0]), int(y[0]), int(x[-1] - x[0] + 1), int(y[-1] - y[0] + 1)]
        facts = {"id": first + offset, "image_id": image, "category_id": label + 1, "iscrowd": 0}
        rows.append({**facts, "bbox": box, "area": int(mask.sum()), "segmentation": rle})
    return rows


def make_scene(random: np.random.RandomState) -> Scene:
    """One image of about 150 x 110 pixels with one to six objects; later ones lie above earlier ones."""
    height, width = random.randint(96, 129), random.randint(128, 161)
    canvas = texture(random, height, width)
    masks: list[Mask] = []
    labels: list[int] = []
    for _ in range(random.randint(1, 7)):
        label, size = random.randint(len(CLASSES)), random.uniform(9, 28)
        x, y = random.uniform(0, width), random.uniform(0, height)
        mask = SHAPES[label](*grid(random, height, width, x, y, size))
        canvas = np.where(mask[..., None], surface(random, height, width), canvas)
        masks = [earlier & ~mask for earlier in masks] + [mask]
        labels.append(label)
    noisy = canvas + random.uniform(-12, 12, canvas.shape)
    kept = [i for i, mask in enumerate(masks) if mask.sum() >= 40]
    empty = np.zeros((0, height, width), bool)
    visible = np.stack([masks[i] for i in kept]) if kept else empty
    return Scene(np.clip(noisy, 0, 255).astype(np.uint8), visible, [labels[i] for i in kept])


def grid(
    random: np.random.RandomState, height: int, width: int, x: float, y: float, size: float
) -> tuple[Floats, Floats]:
    """Each pixel's coordinates in a geometry that is centered on (x, y), turned at random, with `size` as its unit."""
    rows, columns = np.mgrid[0:height, 0:width]
    across, down = (columns + 0.5 - x) / size, (rows + 0.5 - y) / size
    a, b = random.uniform(-1, 1), random.uniform(0.1, 1)
    norm = np.sqrt(a * a + b * b)
    return (a * across + b * down) / norm, (a * down - b * across) / norm


SHAPES: tuple[Callable[[Floats, Floats], Mask], ...] = (
    lambda x, y: x * x + y * y < 1,
    lambda x, y: (abs(x) < 0.85) & (abs(y) < 0.85),
    lambda x, y: (y > -0.6) & (1.7320508 * abs(x) + y < 1.2),
    lambda x, y: ((abs(x) < 0.33) & (abs(y) < 1)) | ((abs(y) < 0.33) & (abs(x) < 1)),
)


def surface(random: np.random.RandomState, height: int, width: int) -> Floats:
    """An object's color, with faint stripes: (H, W, 3)."""
    color = random.uniform(20, 235, 3)
    return color + stripes(random, height, width)[..., None] * random.uniform(0, 25)


def texture(random: np.random.RandomState, height: int, width: int) -> Floats:
    """A background: two colors mixed by blotches and stripes, (H, W, 3)."""
    first, second = random.uniform(30, 225, 3), random.uniform(30, 225, 3)
    mix = 0.6 * blotches(random, height, width) + 0.4 * (stripes(random, height, width) + 1) / 2
    return first + (second - first) * (mix * random.uniform(0.2, 0.6))[..., None]


def stripes(random: np.random.RandomState, height: int, width: int) -> Floats:
    """A triangle wave from -1 to 1 in a random direction, (H, W)."""
    rows, columns = np.mgrid[0:height, 0:width]
    phase = columns * random.uniform(-0.15, 0.15) + rows * random.uniform(-0.15, 0.15)
    return 4 * abs(phase - np.floor(phase) - 0.5) - 1


def blotches(random: np.random.RandomState, height: int, width: int) -> Floats:
    """Coarse noise from 0 to 1, interpolated bilinearly, (H, W)."""
    cell = random.randint(8, 40)
    knots = random.uniform(0, 1, (height // cell + 2, width // cell + 2))
    y, x = np.arange(height) / cell, np.arange(width) / cell
    row, column = y.astype(int), x.astype(int)
    v, u = (y - row)[:, None], (x - column)[None]
    upper = knots[row][:, column] * (1 - u) + knots[row][:, column + 1] * u
    lower = knots[row + 1][:, column] * (1 - u) + knots[row + 1][:, column + 1] * u
    return upper * (1 - v) + lower * v
