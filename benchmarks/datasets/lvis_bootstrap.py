"""LVIS's numbers of many weightings of the same images (Gupta et al., 2019): COCO's, of looked-for classes only.

A detection of a class that was not looked for in an image does not count. One that finds nothing does not count either
where the class was not annotated exhaustively.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.datasets import coco_bootstrap, coco_matches, resampling
from benchmarks.datasets.coco_bootstrap import Floats, MetricDefinition, known_means
from benchmarks.datasets.coco_matches import SIZES, THRESHOLDS, Matches
from benchmarks.datasets.coco_results import Results, Source
from benchmarks.datasets.request import ImageId
from benchmarks.datasets.resampling import Resampled

MOST = 300  # detections of an image
FREQUENCIES = {"rare": "r", "common": "c", "frequent": "f"}
EVERY_THRESHOLD = np.uint16((1 << len(THRESHOLDS)) - 1)


def resample(
    ground_truth: Mapping[str, Any],
    source: Callable[[str], Source],
    image_ids: Sequence[ImageId],
    measures: Sequence[str],
    limited: Callable[[Results], Results],
) -> Resampled:
    """The numbers for each measure. ground truth: an LVIS document. limited: the results that count of an image."""
    weights = resampling.weightings(len(image_ids))
    names = {row["id"]: row["name"] for row in ground_truth["categories"]}
    looked_for = {(row["image_id"], row["category_id"]) for row in ground_truth["annotations"]}
    looked_for |= {(row["id"], number) for row in ground_truth["images"] for number in row["neg_category_ids"]}
    values: dict[str, Floats] = {}
    classes = {}
    for measure in measures:
        results = counted(source(measure), limited, looked_for)
        matches = coco_matches.match(ground_truth, results, measure, image_ids, list(names), MOST)
        matches = excused(matches, ground_truth)
        values |= numbers(matches, measure, ground_truth, weights)
        classes[measure] = resampling.class_precisions(matches, MetricDefinition(0, None, MOST), names)
    return resampling.of_values(values, len(image_ids), resampling.digest(ground_truth, image_ids), classes)


def counted(source: Source, limited: Callable[[Results], Results], looked_for: set[tuple[Any, Any]]) -> Source:
    """Results of classes that were looked for in their image."""

    def results(image_ids: Sequence[ImageId]) -> Results:
        rows = limited(source(image_ids))
        if isinstance(rows, np.ndarray):
            keys = zip(rows[:, 0].astype(np.int64).tolist(), rows[:, 6].astype(np.int64).tolist())
            return rows[np.array([key in looked_for for key in keys], bool)]
        return [row for row in rows if (row["image_id"], row["category_id"]) in looked_for]

    return results


def excused(matches: Matches, ground_truth: Mapping[str, Any]) -> Matches:
    """Detections that find nothing do not count where the class was not annotated exhaustively."""
    index = {image: i for i, image in enumerate(matches.images)}
    partly = {
        (index[row["id"]], number)
        for row in ground_truth["images"]
        if row["id"] in index
        for number in row["not_exhaustive_category_ids"]
    }
    pairs = zip(matches.image.tolist(), matches.category.tolist())
    rows = np.array([pair in partly for pair in pairs], bool)
    missed = ~matches.hit & EVERY_THRESHOLD
    return replace(matches, ignored=np.where(rows, matches.ignored | missed, matches.ignored))


def numbers(matches: Matches, measure: str, ground_truth: Mapping[str, Any], weights: Floats) -> dict[str, Floats]:
    """Each of LVIS's numbers for each weighting (N, R): (R,), NaN where there is nothing to find."""
    table = coco_bootstrap.by_class(matches, 0, MOST, weights)
    frequencies = {row["id"]: row["frequency"] for row in ground_truth["categories"]}
    of_class = np.array([frequencies[number] for number in coco_bootstrap.classes_with_objects(matches)])
    kinds = {"ap": table, "ap_50": table[:, :1], "ap_75": table[:, 5:6]}
    kinds |= {f"ap_{name}": table[of_class == letter] for name, letter in FREQUENCIES.items()}
    for area, name in enumerate(SIZES):
        if area:
            kinds[f"ap_{name}"] = coco_bootstrap.by_class(matches, area, MOST, weights)
    kinds[f"ar_{MOST}"] = coco_bootstrap.recall_by_class(matches, 0, MOST, weights)
    return {f"{measure}_{name}": known_means(values) for name, values in kinds.items()}
