"""What is behind an AP: classes, curves, kinds of errors (TIDE), confusions, calibration. Computed by hotcoco.

TIDE (Bolya et al., 2020) asks how much AP50 would rise if all errors of one kind were mended: wrong class (Cls), wrong
localization (Loc), both, duplicates (Dupe), background (Bkg), missed objects (Miss).
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.datasets.coco_metric import IOU_TYPE
from benchmarks.datasets.coco_results import Source
from benchmarks.datasets.request import ImageId
from zoo.errors import UsageError

SCORE = 0.3  # from which detections count as confusions
SIZES = ("", "_small", "_medium", "_large")
THRESHOLDS = tuple(f"{value:.2f}" for value in np.linspace(0.5, 0.95, 10))


def detail(
    ground_truth: Mapping[str, Any], results: Source, measure: str, image_ids: Sequence[ImageId]
) -> dict[str, Any]:
    """All of it as plain data. Arguments as for `coco_metric.evaluate`; measure: box or mask.

    classes: name, objects, AP by threshold and size. curves: precision at 101 recalls, by IoU threshold for the mean of
    the classes, and at 0.5 by class. tide: AP50 points by kind, and counts. confusion: rows are classes of objects,
    columns of detections with scores of at least SCORE, the last of both is the background. calibration: by score.
    """
    if measure not in ("box", "mask"):
        raise UsageError(f"--detail explains box and mask AP, not {measure}.")
    images = set(image_ids)
    document = {
        **ground_truth,
        "images": [row for row in ground_truth["images"] if row["id"] in images],
        "annotations": [row for row in ground_truth["annotations"] if row["image_id"] in images],
    }
    evaluator = evaluated(document, results, measure, sorted(images))  # type: ignore[type-var]
    names = [row["name"] for row in document["categories"]]
    precision = np.asarray(evaluator.eval["precision"])
    confusion = evaluator.confusion_matrix(min_score=SCORE)
    return {
        "measure": measure,
        "classes": classes(document, precision, names),
        "curves": curves(precision, names),
        "tide": tide(evaluator),
        "confusion": {"names": [*names, "background"], "min_score": SCORE, "matrix": confusion["matrix"].tolist()},
        "calibration": calibration(evaluator),
    }


def evaluated(document: dict[str, Any], results: Source, measure: str, images: Sequence[ImageId]) -> Any:
    """hotcoco's evaluator with everything in memory."""
    import hotcoco

    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        coco = hotcoco.COCO(document)
        rows = results(images)
        detections = coco.load_res(rows) if len(rows) else loaded_nothing(document)
        evaluator = hotcoco.COCOeval(coco, detections, IOU_TYPE[measure])
        evaluator.params.catIds = [row["id"] for row in document["categories"]]
        evaluator.evaluate()
        evaluator.accumulate()
    return evaluator


def loaded_nothing(document: dict[str, Any]) -> Any:
    """No detection, as hotcoco takes it."""
    import hotcoco

    return hotcoco.COCO({**document, "annotations": []})


def classes(document: Mapping[str, Any], precision: Any, names: Sequence[str]) -> list[dict[str, Any]]:
    """A row per class; None where it has no object of that kind. precision: (T, 101, K, A, M)."""
    counts = np.bincount([row["category_id"] for row in document["annotations"]], minlength=1 + max_id(document))
    rows = []
    for label, (name, category) in enumerate(zip(names, document["categories"])):
        own = precision[:, :, label, :, -1]
        sizes = {f"ap{size}": known_mean(own[..., i]) for i, size in enumerate(SIZES)}
        levels = {"ap_50": known_mean(own[0, :, 0]), "ap_75": known_mean(own[5, :, 0])}
        rows.append({"class": name, "objects": int(counts[category["id"]]), **sizes, **levels})
    return rows


def max_id(document: Mapping[str, Any]) -> int:
    """The largest category id."""
    return max((row["id"] for row in document["categories"]), default=0)


def known_mean(values: Any) -> float | None:
    """The mean of what is not -1."""
    known = values[values > -1]
    return float(known.mean()) if known.size else None


def curves(precision: Any, names: Sequence[str]) -> dict[str, dict[str, list[float]]]:
    """Precision at 101 recalls."""
    overall = precision[:, :, :, 0, -1]
    known = [label for label in range(len(names)) if (overall[0, :, label] > -1).all()]
    if not known:
        return {"iou": {}, "class": {}}
    mean = overall[:, :, known].mean(2)
    return {
        "iou": {text: np.round(row, 4).tolist() for text, row in zip(THRESHOLDS, mean)},
        "class": {names[label]: np.round(overall[0, :, label], 4).tolist() for label in known},
    }


def tide(evaluator: Any) -> dict[str, Any]:
    """Points of AP50 by kind of error, and how many errors there are."""
    result = evaluator.tide_errors()
    points = {kind: 100 * float(value) for kind, value in result["delta_ap"].items()}
    return {"ap_50": float(result["ap_base"]), "points": points, "counts": dict(result["counts"])}


def calibration(evaluator: Any) -> dict[str, Any]:
    """How often detections of a score are true at an IoU of 0.5; ece: the mean difference."""
    result = evaluator.calibration()
    return {"ece": float(result["ece"]), "mce": float(result["mce"]), "bins": list(result["bins"])}
