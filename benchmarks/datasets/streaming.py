"""hotcoco's evaluation, some images at a time.

All results of a dataset as the library's own objects take a dozen times the memory of what was found. Of a
image that has been matched only scores and matches stay: some 30 bytes for each detection.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import hotcoco

from benchmarks.datasets.coco_results import Source
from benchmarks.datasets.request import ImageId

IMAGES = 50  # matched at a time: more take more memory and are not faster


def match(
    ground_truth: Mapping[str, Any],
    results: Source,
    params: hotcoco.Params,
    image_ids: Iterable[ImageId],
    lvis_style: bool = False,
) -> hotcoco.COCOeval:
    """An evaluator after its `evaluate`: everything is matched. ground truth: a COCO or LVIS document with ids above 0.

    Only `image_ids` and `params.catIds` count. Order decides between equal scores, so images go by id, as in
    pycocotools.
    """
    stream = hotcoco.StreamingEval(ground_truth["categories"], params.iouType, lvis_style, params)
    rows = {row["id"]: row for row in ground_truth["images"]}
    objects = by_image(ground_truth["annotations"], params.catIds)
    ordered = sorted(image_ids)  # type: ignore[type-var]
    for start in range(0, len(ordered), IMAGES):
        ids = ordered[start : start + IMAGES]
        stream.update([rows[i] for i in ids], [row for i in ids for row in objects[i]], results(ids))
    return stream.finalize()


def by_image(annotations: Iterable[dict[str, Any]], categories: Sequence[int]) -> dict[Any, list[dict[str, Any]]]:
    """The annotations of these categories by image id."""
    wanted, predictions = set(categories), defaultdict(list)
    for row in annotations:
        if row["category_id"] in wanted:
            predictions[row["image_id"]].append(row)
    return predictions
