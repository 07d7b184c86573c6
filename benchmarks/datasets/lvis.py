"""LVIS v0.5 and v1: COCO's images with long-tailed classes, annotated per image for some of the classes only.

The metric (Gupta et al., 2019, section 3.4) is the LVIS API's: a detection of a class that was not looked for in a
image does not count, at most 300 detections per image count, and there is an AP for rare, common and frequent
classes. hotcoco computes it; its numbers equal those of lvis 0.5.3, which itself does not run with NumPy 2.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import hotcoco

from benchmarks.datasets import coco_results, streaming
from benchmarks.datasets.coco_metric import IOU_TYPE
from benchmarks.datasets.coco_results import Source
from benchmarks.datasets.files import DatasetError, read_json, require_folder
from benchmarks.datasets.predictions import Predictions
from benchmarks.datasets.request import DatasetImage, MetricConfig

NAMES = {
    "AP": "ap",
    "AP50": "ap_50",
    "AP75": "ap_75",
    "APr": "ap_rare",
    "APc": "ap_common",
    "APf": "ap_frequent",
    "APs": "ap_small",
    "APm": "ap_medium",
    "APl": "ap_large",
    "AR@300": "ar_300",
}
MOST = 300  # detections per image
KEYS = ("images", "annotations", "categories")


class LvisDataset:
    """An LVIS annotation file and COCO's folders of images.

    annotations, images: where the two lie below `root`.
    """

    def __init__(self, name: str, root: Path, request: MetricConfig, annotations: str, images: str) -> None:
        self.name, self.root, self.request = name, root, request
        path = root / annotations
        self.ground_truth = read_json(path, name, KEYS)
        categories = self.ground_truth["categories"]
        if request.classes is not None and len(request.classes) != len(categories):
            raise DatasetError(f"{path} has {len(categories)} classes, the model knows {len(request.classes)}.")
        self.category_ids = [row["id"] for row in categories]
        self.classes = tuple(row["name"] for row in categories)
        folder = require_folder(root / images, name)
        self.images = [DatasetImage(row["id"], folder / file_name(row, path)) for row in self.ground_truth["images"]]

    def truth_files(self) -> list[Path]:
        """None: the ground truth is read when the dataset is opened."""
        return []

    def evaluate(self, predictions: Mapping[int | str, Predictions]) -> dict[str, float]:
        """box_ap, ..., mask_ap, ... as the LVIS API computes them; -1 where there is nothing to find."""
        numbers: dict[str, float] = {}
        for measure in self.request.measures:
            results = coco_results.source(measure, predictions, self.category_ids)
            numbers |= evaluate(self.ground_truth, results, measure, list(predictions))
        return numbers


def evaluate(
    ground_truth: dict[str, Any], results: Source, measure: str, image_ids: Iterable[int | str]
) -> dict[str, float]:
    """LVIS's numbers by name. ground truth: an LVIS document. results: as for COCO. measure: box or mask."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        params = hotcoco.Params(IOU_TYPE[measure])
        params.catIds, params.maxDets = [row["id"] for row in ground_truth["categories"]], [MOST]
        evaluator = streaming.match(ground_truth, results, params, image_ids, lvis_style=True)
        evaluator.accumulate()
        evaluator.summarize()
        numbers = evaluator.get_results()
    return {f"{measure}_{name}": float(numbers[key]) for key, name in NAMES.items()}


def file_name(image: Mapping[str, Any], path: Path) -> str:
    """Where an image lies: `val2017/000000000139.jpg` in v1, `000000000139.jpg` in v0.5.

    v1 has the image's address only; v0.5 names COCO 2014's file, whose last 16 characters are COCO 2017's.
    """
    if "file_name" in image:
        return image["file_name"][-16:] if image["file_name"].startswith("COCO") else image["file_name"]
    if "coco_url" in image:
        return "/".join(image["coco_url"].split("/")[-2:])
    raise DatasetError(f"{path}: image {image.get('id')} has neither 'coco_url' nor 'file_name'.")
