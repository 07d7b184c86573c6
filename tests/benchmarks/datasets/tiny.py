"""The tiny datasets of tests/data, and what a perfect model would find in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.datasets.catalog import open_dataset
from benchmarks.datasets.dataset import Dataset
from benchmarks.datasets.predictions import Predictions, compact
from benchmarks.datasets.request import MetricConfig
from tests.data.scenes import SCENES, Scene
from zoo.structures import Detections

DATA = Path(__file__).parents[2] / "data"
FOLDERS = {
    "coco_2017": "coco",
    "coco_2017_person": "coco",
    "coco_2017_person_bicycle_car": "coco",
    "coco_2017_keypoints": "coco",
    "coco_2017_panoptic": "coco_panoptic",
    "lvis_v1": "lvis_v1",
    "lvis_v0.5": "lvis_v0.5",
    "objects365_v1": "objects365_v1",
    "objects365_v2": "objects365_v2",
    "deepfashion_inshop": "deepfashion_inshop",
    "voc_0712": "VOCdevkit",
    "voc_2012": "VOCdevkit",
    "cityscapes": "cityscapes",
    "openimages_v6": "openimages_v6",
    "openimages_challenge_2019": "openimages_challenge_2019",
    "wider_face": "wider_face",
    "crowdhuman": "crowdhuman",
}
CITY_CLASSES = ("person", "bicycle", "car")


def detections(scene: Scene, skip: Sequence[int] = (), labels: Sequence[int] = (0, 1, 2)) -> Detections:
    """A scene's things as a perfect model would find them, except those numbered in `skip`; labels: by class."""
    things = [thing for number, thing in enumerate(scene.things) if number not in skip]
    width, height = scene.size
    masks = torch.zeros((len(things), height, width), dtype=torch.bool)
    panoptic = torch.full((height, width), 3)
    for number, (mask, thing) in enumerate(zip(masks, things), 1):
        x, y, w, h = thing.box
        mask[y : y + h, x : x + w] = True
        panoptic[mask] = thing.label + (1000 * number if thing.label < 2 else 0)
    boxes = torch.tensor([[x, y, x + w, y + h] for _, (x, y, w, h), _ in things], dtype=torch.float32).reshape(-1, 4)
    scores = 0.9 - 0.1 * torch.arange(len(things), dtype=torch.float32)
    return Detections(boxes, scores, torch.tensor([labels[t.label] for t in things]).long(), masks, panoptic)


def perfect(
    dataset: Dataset, labels: Sequence[int] = (0, 1, 2), skip: Sequence[int] = ()
) -> dict[int | str, Predictions]:
    """Everything in every image, except the things numbered in `skip`."""
    scenes = ((p.id, next(scene for scene in SCENES if scene.name in p.path.name)) for p in dataset.images)
    return {image_id: compact(detections(scene, skip, labels)) for image_id, scene in scenes}


def tiny(name: str, **request: object) -> Dataset:
    """A tiny dataset."""
    return open_dataset(name, DATA / FOLDERS[name], MetricConfig(**request))  # type: ignore[arg-type]
