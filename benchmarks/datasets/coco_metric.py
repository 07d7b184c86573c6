"""COCO's twelve numbers by name, ten of keypoints, from annotations and results, by one of two libraries.


pycocotools is the reference. hotcoco computes the same precision and recall arrays some hundred times faster; a test
compares all twelve numbers at full double precision over crowds, ties, empty images and empty classes.

Protocols: `coco` counts at most 1, 10 and 100 detections per image. `mmdet-v2` is MMDetection 2.x's definition,
`maxDets=(100, 300, 1000)`: its AP is COCO's, but AP50, AP75, the APs by size and all recalls look at 1000 detections.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.datasets.coco_results import Results, Source
from benchmarks.datasets.request import ImageId
from zoo.errors import UsageError

MAX_DETECTIONS = {"coco": (1, 10, 100), "mmdet-v2": (100, 300, 1000)}
IOU_TYPE = {"box": "bbox", "proposal": "bbox", "mask": "segm", "keypoint": "keypoints"}


def metric_names(measure: str, protocol: str) -> list[str]:
    """Names of the twelve numbers in COCO's usual order, such as box_ap or mask_ar_100 (proposals: ar_100).

    Keypoints have ten, over at most 20 detections per image in either protocol, by object keypoint similarity (OKS).
    """
    if measure == "keypoint":
        kinds = ("", "_50", "_75", "_medium", "_large")
        return [f"keypoint_{share}{kind}" for share in ("ap", "ar") for kind in kinds]
    precisions = ["ap", "ap_50", "ap_75", "ap_small", "ap_medium", "ap_large"]
    recalls = [f"ar_{n}" for n in MAX_DETECTIONS[protocol]] + ["ar_small", "ar_medium", "ar_large"]
    prefix = "" if measure == "proposal" else f"{measure}_"
    return [prefix + name for name in precisions + recalls]


def evaluate(
    ground_truth: dict[str, Any],
    results: Source,
    measure: str,
    image_ids: Sequence[ImageId],
    category_ids: Sequence[int],
    protocol: str = "coco",
    metric_backend: str = "auto",
) -> dict[str, float]:
    """The twelve or ten numbers, 0 to 1, by name; -1 where the annotations have nothing to find (no large object, say).

    ground truth: a COCO annotation document whose ids are numbers from 1. results: the detections. Only `image_ids`
    and `category_ids` count.
    measure: "box" (box IoU), "mask" (mask IoU), "keypoint" (OKS) or "proposal" (box IoU without classes, recalls only).
    """
    match = by_hotcoco if uses_hotcoco(metric_backend) else by_pycocotools
    # Both libraries print their progress on stdout, which is for data here.
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluator = match(ground_truth, results, Scope(measure, image_ids, category_ids, limits(measure, protocol)))
        evaluator.accumulate()
    curves = Curves(evaluator.eval["precision"], evaluator.eval["recall"], limits(measure, protocol))
    summary = curves.of_keypoints() if measure == "keypoint" else curves.summary()
    named = dict(zip(metric_names(measure, protocol), summary))
    if measure == "proposal":
        return {name: value for name, value in named.items() if name.startswith("ar_")}
    return named


class Curves(NamedTuple):
    """What either library computes. T = 10 IoU thresholds, A = 4 ranges of areas: all, small, medium, large.

    precision: (T, 101, K, A, M), recall: (T, K, A, M), -1 where there is nothing to find. limits: the M numbers of
    detections.
    """

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    limits: Sequence[int]

    def summary(self) -> list[float]:
        """The twelve numbers. The first one is at 100 detections whatever the limits, as pycocotools defines it."""
        first = list(self.limits).index(100)
        precisions = [self.precision[..., 0, first], self.precision[0, ..., 0, -1], self.precision[5, ..., 0, -1]]
        precisions += [self.precision[..., size, -1] for size in (1, 2, 3)]
        recalls = [self.recall[..., 0, limit] for limit in range(3)]
        recalls += [self.recall[..., size, -1] for size in (1, 2, 3)]
        return [known_mean(values) for values in precisions + recalls]

    def of_keypoints(self) -> list[float]:
        """The ten numbers of keypoints, whose ranges of areas are all, medium and large, with one limit."""
        tables = (self.precision[..., 0], self.recall[..., 0])
        parts = [(t[..., 0], t[0, ..., 0], t[5, ..., 0], t[..., 1], t[..., 2]) for t in tables]
        return [known_mean(values) for part in parts for values in part]


def known_mean(values: NDArray[np.float64]) -> float:
    """The mean of what is not -1; -1 without any."""
    known = values[values > -1]
    return float(np.mean(known)) if len(known) else -1.0


class Scope(NamedTuple):
    """What counts; as for `evaluate`. max_detections: of an image, three limits, or the one of keypoints."""

    measure: str
    image_ids: Sequence[ImageId]
    category_ids: Sequence[int]
    max_detections: Sequence[int]


def limits(measure: str, protocol: str) -> Sequence[int]:
    """How many detections of an image count."""
    return (20,) if measure == "keypoint" else MAX_DETECTIONS[protocol]


def by_hotcoco(ground_truth: dict[str, Any], results: Source, scope: Scope) -> Any:
    """A COCOeval after its `evaluate`, by hotcoco, with little memory."""
    import hotcoco

    from benchmarks.datasets import streaming

    params = hotcoco.Params(IOU_TYPE[scope.measure])
    params.catIds, params.maxDets = list(scope.category_ids), list(scope.max_detections)
    params.useCats = scope.measure != "proposal"
    return streaming.match(ground_truth, results, params, scope.image_ids)


def by_pycocotools(ground_truth: dict[str, Any], results: Source, scope: Scope) -> Any:
    """The same by pycocotools, with everything in memory at once."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    coco = COCO()
    coco.dataset = ground_truth
    coco.createIndex()
    evaluator = COCOeval(coco, loaded(coco, results(scope.image_ids)), IOU_TYPE[scope.measure])
    params = evaluator.params
    params.imgIds, params.catIds = sorted(scope.image_ids), list(scope.category_ids)
    params.maxDets, params.useCats = list(scope.max_detections), int(scope.measure != "proposal")
    evaluator.evaluate()
    return evaluator


def loaded(coco: Any, results: Results) -> Any:
    """Results as pycocotools' COCO object."""
    if len(results):
        return coco.loadRes(results)
    nothing = type(coco)()  # loadRes looks at the first result to tell boxes from masks
    nothing.dataset = coco.dataset | {"annotations": []}
    nothing.createIndex()
    return nothing


def uses_hotcoco(metric_backend: str) -> bool:
    """Whether to evaluate with hotcoco: `auto` does where it is installed."""
    if metric_backend == "pycocotools":
        return False
    installed = importlib.util.find_spec("hotcoco") is not None
    if metric_backend == "hotcoco" and not installed:
        raise UsageError("hotcoco is not installed: `pip install hotcoco`, or use --metric-backend pycocotools.")
    return installed
