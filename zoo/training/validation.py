"""COCO's AP of the network as it is, on images that it does not train on.

Numbers for the log only; `bench accuracy` measures a published file.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor

from zoo.coco_format.annotations import Annotations, read_annotations, shadowed
from zoo.coco_format.image_files import find_images
from zoo.coco_format.keypoints import to_pixel_indices
from zoo.coco_format.metric_document import image_numbers, metric_document
from zoo.coco_format.results import encode_masks, to_results
from zoo.coco_format.sizes import Size, checked_sizes
from zoo.errors import DataError
from zoo.models.detectors.base import Detector
from zoo.preprocessing.preprocess import make_preprocessor
from zoo.preprocessing.recipe import Preprocessing

KEYS = ("mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l")
KEYPOINT_KEYS = ("mAP", "mAP_50", "mAP_75", "mAP_m", "mAP_l")
MEASURES = {"bbox": "box", "segm": "mask", "keypoints": "keypoint"}
FIELDS = {"segm": "segmentation", "keypoints": "keypoints"}


class ValidationSet(NamedTuple):
    """What is measured on. paths: of the images. numbers: of the images, for the metric. categories: of the labels."""

    file: Annotations
    paths: list[Path]
    sizes: list[Size | None]
    numbers: list[int]
    categories: dict[int, int]

    def ground_truth(self, kind: str) -> COCO:
        """What detections are compared with. Raises DataError where that is missing."""
        document = metric_document(self.file, self.numbers, self.categories, self.sizes, (MEASURES[kind],))
        with contextlib.redirect_stdout(io.StringIO()):
            ground_truth = COCO()
            ground_truth.dataset = document
            ground_truth.createIndex()
        return ground_truth


def open_set(annotations: Path, images: Path, classes: Sequence[str]) -> ValidationSet:
    """The images and annotations of a network's classes, which go by name. Raises DataError, UnreadableImage."""
    file = read_annotations(annotations)
    positions = {row.name: i for i, row in enumerate(file.categories) if not shadowed(i, file.categories)}
    if missing := [name for name in classes if name not in positions]:
        raise DataError(f"{annotations} lacks {len(missing)} of the {len(classes)} classes, {missing[0]} first.")
    names = [image.file_name for image in file.images]
    paths = find_images(images, names)
    categories = {positions[name]: label + 1 for label, name in enumerate(classes)}
    return ValidationSet(file, paths, checked_sizes(file, paths), image_numbers(names), categories)


@torch.inference_mode()
def validate(
    network: Detector, recipe: Preprocessing, annotations: Path, images: Path, classes: Sequence[str]
) -> dict[str, float]:
    """`bbox_mAP` and its kin, as fractions, of masks `segm_mAP`, of keypoints `keypoints_mAP`.

    classes: of the network's labels. Leaves the network in its mode.
    """
    data = open_set(annotations, images, classes)
    before = network.training
    network.eval()
    rows = [
        row
        for number, path in zip(data.numbers, data.paths)
        for row in detected(network, recipe, number, path, len(classes))
    ]
    network.train(before)
    kinds = ["bbox"] + [kind for kind, field in FIELDS.items() if any(field in row for row in rows)]
    numbers: dict[str, float] = {}
    for kind in kinds:
        numbers |= scores(data.ground_truth(kind), rows, kind)
    return numbers


def detected(network: Detector, recipe: Preprocessing, number: int, path: Path, classes: int) -> list[dict[str, Any]]:
    """One image's detections as COCO results, with image `number` and category numbers from 1."""
    sample = make_preprocessor(recipe)(path)
    home: Tensor = next(network.parameters())
    result = network.detect_sample(sample, home)
    masks = None if result.masks is None else encode_masks(result.masks)
    arrays = result.boxes.numpy(), result.scores.numpy(), result.labels.numpy()
    keypoints = None if result.keypoints is None else to_pixel_indices(result.keypoints.numpy(), network.pixel_center)
    return to_results(number, *arrays, masks, range(1, classes + 1), keypoints=keypoints)


def scores(ground_truth: COCO, rows: list[dict[str, Any]], kind: str) -> dict[str, float]:
    """The APs among COCO's numbers, 0 where nothing was found."""
    keys = KEYPOINT_KEYS if kind == "keypoints" else KEYS
    if not rows:
        return {f"{kind}_{key}": 0.0 for key in keys}
    if kind == "segm":  # a box beside the mask would decide how large the detection is
        rows = [{key: value for key, value in row.items() if key != "bbox"} for row in rows]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(ground_truth, ground_truth.loadRes([dict(row) for row in rows]), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {f"{kind}_{key}": float(value) for key, value in zip(keys, evaluation.stats)}
