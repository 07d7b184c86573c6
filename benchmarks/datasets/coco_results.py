"""What was found, as COCO results (https://cocodataset.org/#format-results)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.datasets.predictions import Predictions
from benchmarks.datasets.request import ImageId
from zoo.coco_format.results import to_results

# Rows with a box or, for masks, a mask only (a box beside it would decide how large the detection is); or (N, 7)
# float64 of image id, x, y, width, height, score and category id, which takes a tenth of the memory.
Results = list[dict[str, Any]] | NDArray[np.float64]

# The results of the images with these ids. A metric asks for some at a time, so that not all are there at once.
Source = Callable[[Sequence[ImageId]], Results]


def coco_results(predictions: Mapping[Any, Predictions], category_ids: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Everything found, in full, row by row. category_ids: the dataset's own number of each label."""
    for image_id, one in predictions.items():
        fields = (one.boxes, one.scores, one.labels, one.masks)
        rows = to_results(image_id, *fields, category_ids, one.mask_scores, one.keypoints)
        yield from (row for row in rows if row["category_id"] is not None)  # a class that the dataset lacks


def source(measure: str, predictions: Mapping[Any, Predictions], category_ids: Sequence[int]) -> Source:
    """What COCO's metric needs to know for a measure, and no more."""
    kind = {"mask": mask_results, "keypoint": keypoint_results}.get(measure, box_results)
    return lambda image_ids: kind({image_id: predictions[image_id] for image_id in image_ids}, category_ids)


def box_results(predictions: Mapping[Any, Predictions], category_ids: Sequence[int]) -> Results:
    """The boxes; as an array where ids are numbers."""
    if not all(isinstance(image_id, int) for image_id in predictions):
        wanted = ("image_id", "category_id", "bbox", "score")
        return [{key: row[key] for key in wanted} for row in coco_results(predictions, category_ids)]
    parts = [np.zeros((0, 7))]
    for image_id, one in predictions.items():
        boxes = one.boxes.astype(np.float64)
        boxes[:, 2:] -= boxes[:, :2]
        categories = np.array(category_ids, np.float64)[one.labels]
        parts.append(np.column_stack([np.full(len(boxes), image_id), boxes, one.scores, categories]))
    return np.concatenate(parts)


def mask_results(predictions: Mapping[Any, Predictions], category_ids: Sequence[int]) -> list[dict[str, Any]]:
    """The masks, with their own scores where they have some."""
    return [
        {"image_id": image_id, "category_id": category_ids[label], "segmentation": mask, "score": score}
        for image_id, one in predictions.items()
        for label, mask, score in zip(one.labels.tolist(), one.masks or (), one.ranking.tolist())
    ]


def only(one: Predictions, labels: Collection[int]) -> Predictions:
    """The detections of some labels."""
    kept = np.isin(one.labels, list(labels))
    if kept.all():
        return one
    masks = None if one.masks is None else [mask for mask, keep in zip(one.masks, kept) if keep]
    mask_scores = None if one.mask_scores is None else one.mask_scores[kept]
    return replace(
        one,
        boxes=one.boxes[kept],
        scores=one.scores[kept],
        labels=one.labels[kept],
        masks=masks,
        mask_scores=mask_scores,
        keypoints=None if one.keypoints is None else one.keypoints[kept],
    )


def keypoint_results(predictions: Mapping[Any, Predictions], category_ids: Sequence[int]) -> list[dict[str, Any]]:
    """The keypoints, one after the other: the extent of these, not the box, decides how large a detection is."""
    return [
        {
            "image_id": image_id,
            "category_id": category_ids[label],
            "keypoints": points.flatten().tolist(),
            "score": score,
        }
        for image_id, one in predictions.items()
        if one.keypoints is not None
        for label, points, score in zip(one.labels.tolist(), one.keypoints.astype(np.float64), one.scores.tolist())
    ]
