"""COCO's twelve numbers by name, from annotations and results, by one of two engines that agree bit for bit.

pycocotools is the reference. hotcoco computes the same precision and recall arrays some hundred times faster; a test
compares all twelve numbers at full double precision over crowds, ties, empty pictures and empty classes.

Protocols: `coco` counts at most 1, 10 and 100 detections per picture. `mmdet-v2` is MMDetection 2.x's reading,
`maxDets=(100, 300, 1000)`: its AP is COCO's, but AP50, AP75, the APs by size and all recalls look at 1000 detections.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.errors import UsageError

# COCO results: rows with a box or, for masks, a mask only (a box beside it would decide how large the detection is); or
# (N, 7) float64 of image id, x, y, width, height, score and category id, which takes a tenth of the memory.
Results = list[dict[str, Any]] | NDArray[np.float64]

MAX_DETECTIONS = {"coco": (1, 10, 100), "mmdet-v2": (100, 300, 1000)}
IOU_TYPE = {"box": "bbox", "proposal": "bbox", "mask": "segm"}


def metric_names(measure: str, protocol: str) -> list[str]:
    """Names of the twelve numbers in COCO's usual order, such as box_ap or mask_ar_100 (proposals: ar_100)."""
    precisions = ["ap", "ap_50", "ap_75", "ap_small", "ap_medium", "ap_large"]
    recalls = [f"ar_{n}" for n in MAX_DETECTIONS[protocol]] + ["ar_small", "ar_medium", "ar_large"]
    prefix = "" if measure == "proposal" else f"{measure}_"
    return [prefix + name for name in precisions + recalls]


def evaluate(
    truth: dict[str, Any],
    results: Results,
    measure: str,
    image_ids: Sequence[int | str],
    category_ids: Sequence[int],
    protocol: str = "coco",
    engine: str = "auto",
) -> dict[str, float]:
    """The twelve numbers, 0 to 1, by name; -1 where the annotations have nothing to find (no large object, say).

    truth: a COCO annotation document. results: as `Results` says. Only `image_ids` and `category_ids` count.
    measure: "box" (box IoU), "mask" (mask IoU) or "proposal" (box IoU, classes ignored, recalls only).
    """
    kind = IOU_TYPE[measure]
    library = engine_module(engine, truth)
    # Both libraries print their progress on stdout, which is for data here.
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stats = run_engine(library, truth, results, kind, measure, image_ids, category_ids, MAX_DETECTIONS[protocol])
    named = dict(zip(metric_names(measure, protocol), (float(value) for value in stats)))
    if measure == "proposal":
        return {name: value for name, value in named.items() if name.startswith("ar_")}
    return named


def run_engine(
    library: ModuleType,
    truth: dict[str, Any],
    results: Results,
    kind: str,
    measure: str,
    image_ids: Sequence[int | str],
    category_ids: Sequence[int],
    max_detections: Sequence[int],
) -> Sequence[float]:
    """COCO's `stats`, computed by pycocotools or by a library with the same names."""
    evaluator = library.COCOeval(*index(library, truth, results), kind)
    evaluator.params.imgIds = sorted(image_ids)
    evaluator.params.catIds = list(category_ids)
    evaluator.params.maxDets = list(max_detections)
    evaluator.params.useCats = int(measure != "proposal")
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summarize()
    return evaluator.stats


def index(library: ModuleType, truth: dict[str, Any], results: Results) -> tuple[Any, Any]:
    """Annotations and results as the library's COCO objects."""
    if library.__name__ == "hotcoco":
        coco = library.COCO(truth)
        return coco, coco.loadRes(results)
    coco = library.COCO()
    coco.dataset = truth
    coco.createIndex()
    if len(results):
        return coco, coco.loadRes(results)
    nothing = library.COCO()  # loadRes looks at the first result to tell boxes from masks
    nothing.dataset = {"images": truth["images"], "categories": truth["categories"], "annotations": []}
    nothing.createIndex()
    return coco, nothing


def engine_module(engine: str, truth: dict[str, Any]) -> ModuleType:
    """The library to evaluate with: `auto` is hotcoco where it is installed and reads `truth` as pycocotools does."""
    if engine == "pycocotools" or (engine == "auto" and not hotcoco_agrees(truth)):
        return pycocotools()
    if importlib.util.find_spec("hotcoco") is None:
        raise UsageError("hotcoco is not installed: `pip install hotcoco`, or use --engine pycocotools.")
    if not hotcoco_agrees(truth):
        raise UsageError(
            "hotcoco reads annotation ids below 1 or ids that are not numbers in its own way: use pycocotools."
        )
    import hotcoco

    return hotcoco


def hotcoco_agrees(truth: dict[str, Any]) -> bool:
    """Whether hotcoco is there and the annotations have none of the ids that pycocotools reads differently.

    pycocotools marks an unmatched detection with annotation id 0, so it takes a match with annotation 0 for none.
    """
    if importlib.util.find_spec("hotcoco") is None:
        return False
    numbered = all(type(image["id"]) is int for image in truth["images"])
    return numbered and all(type(row["id"]) is int and row["id"] > 0 for row in truth["annotations"])


def pycocotools() -> ModuleType:
    """pycocotools with COCO and COCOeval side by side."""
    module = ModuleType("pycocotools")
    module.COCO = importlib.import_module("pycocotools.coco").COCO  # type: ignore[attr-defined]
    module.COCOeval = importlib.import_module("pycocotools.cocoeval").COCOeval  # type: ignore[attr-defined]
    return module
