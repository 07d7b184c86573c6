"""Ground truth drawn on its images, without any detector."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pycocotools import mask as coco_mask

from benchmarks.datasets.catalog import open_dataset
from benchmarks.datasets.coco import CocoDataset
from benchmarks.datasets.request import MetricConfig
from zoo.errors import UsageError
from zoo.preprocessing.preprocess import read_image
from zoo.structures import Detections
from zoo.visualization import draw


def opened(data: Path, name: str, split: str | None, masks: bool, out: Path) -> CocoDataset:
    """The dataset, after a look at the folder to write. Raises UsageError, DatasetError."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists already; give a new or empty folder with --out.")
    dataset = open_dataset(name, data, MetricConfig(measures=("box", "mask") if masks else ("box",), split=split))
    if not isinstance(dataset, CocoDataset):
        raise UsageError(f"bench browse reads datasets in COCO's layout; {name} has another one.")
    return dataset


def draw_all(dataset: CocoDataset, out: Path, limit: int, masks: bool) -> Iterator[Path]:
    """The files, one by one. Raises UnreadableImage."""
    annotations = defaultdict(list)
    for row in dataset.ground_truth["annotations"]:
        annotations[row["image_id"]].append(row)
    existing = [image for image in dataset.images if image.path.is_file()]
    if not existing:
        raise UsageError(f"none of the dataset's {len(dataset.images):,} images exists in {dataset.root}.")
    out.mkdir(parents=True, exist_ok=True)
    for image in existing[:limit]:
        objects = as_detections(annotations[dataset.number_of[image.id]], masks)
        path = out / f"{image.path.stem}.jpg"
        draw.save(draw.draw(read_image(image.path), objects, dataset.classes, score_thr=0.0), path)
        yield path


def as_detections(rows: list[dict[str, Any]], masks: bool) -> Detections:
    """Objects as detections that are certain; crowds are left out, they would cover the others."""
    single = [row for row in rows if not row["iscrowd"]]
    boxes = torch.tensor([row["bbox"] for row in single], dtype=torch.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    labels = torch.tensor([row["category_id"] - 1 for row in single], dtype=torch.long)
    decoded = [coco_mask.decode(row["segmentation"]).astype(bool) for row in single] if masks else []
    stacked = torch.from_numpy(np.stack(decoded)) if decoded else None
    return Detections(boxes, torch.ones(len(single)), labels, stacked)
