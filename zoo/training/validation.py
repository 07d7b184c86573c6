"""COCO's AP of the network as it is, on images that it does not train on.

Numbers for the log only; `bench accuracy` measures a published file.
"""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor

from zoo.coco_format.keypoints import to_pixel_indices
from zoo.coco_format.results import encode_masks, to_results
from zoo.models.detectors.base import Detector
from zoo.preprocessing.preprocess import make_preprocessor
from zoo.preprocessing.recipe import Preprocessing

KEYS = ("mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l")
KEYPOINT_KEYS = ("mAP", "mAP_50", "mAP_75", "mAP_m", "mAP_l")
FIELDS = {"segm": "segmentation", "keypoints": "keypoints"}


@torch.inference_mode()
def validate(network: Detector, recipe: Preprocessing, annotations: Path, images: Path) -> dict[str, float]:
    """`bbox_mAP` and its kin, as fractions, of masks `segm_mAP`, of keypoints `keypoints_mAP`.

    Leaves the network in its mode.

    Categories are the labels in the annotation file's order.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        ground_truth = COCO(str(annotations))
    before = network.training
    network.eval()
    rows = [
        row
        for image in ground_truth.dataset["images"]
        for row in detected(network, recipe, ground_truth, image, images)
    ]
    network.train(before)
    kinds = ["bbox"] + [kind for kind, field in FIELDS.items() if any(field in row for row in rows)]
    numbers: dict[str, float] = {}
    for kind in kinds:
        numbers |= scores(ground_truth, rows, kind)
    return numbers


def detected(
    network: Detector, recipe: Preprocessing, ground_truth: COCO, image: dict[str, Any], images: Path
) -> list[dict[str, Any]]:
    """One image's detections as COCO results."""
    sample = make_preprocessor(recipe)(images / image["file_name"])
    home: Tensor = next(network.parameters())
    found = network.detect_sample(sample, home)
    categories = [row["id"] for row in ground_truth.dataset["categories"]]
    masks = None if found.masks is None else encode_masks(found.masks)
    arrays = found.boxes.numpy(), found.scores.numpy(), found.labels.numpy()
    keypoints = None if found.keypoints is None else to_pixel_indices(found.keypoints.numpy(), network.pixel_center)
    return to_results(image["id"], *arrays, masks, categories, keypoints=keypoints)


def scores(ground_truth: COCO, rows: list[dict[str, Any]], kind: str) -> dict[str, float]:
    """The APs among COCO's numbers, 0 where nothing was found."""
    keys = KEYPOINT_KEYS if kind == "keypoints" else KEYS
    if not rows:
        return {f"{kind}_{key}": 0.0 for key in keys}
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(ground_truth, ground_truth.loadRes([dict(row) for row in rows]), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {f"{kind}_{key}": float(value) for key, value in zip(keys, evaluation.stats)}
