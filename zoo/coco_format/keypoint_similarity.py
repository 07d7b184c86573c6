"""Object keypoint similarity (OKS): what IoU is for boxes (https://cocodataset.org/#keypoints-eval)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Standard deviations of a person's keypoints relative to the object's scale, in the order of `keypoints.PERSON`.
SIGMAS = np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000


def object_similarity(
    detections: Sequence[Sequence[float]], objects: Sequence[Mapping[str, Any]]
) -> NDArray[np.float64]:
    """(d, g) similarity of detections' keypoints (x, y, score, ...) to annotated objects.

    objects: annotations with keypoints, bbox and area. Of an object without visible keypoints the distance to its box,
    enlarged by its own extent on each side, counts.
    """
    points = np.array(detections, np.float64).reshape(len(detections), -1, 3)
    columns = [similarity(points, one) for one in objects]
    return np.stack(columns, 1) if columns else np.zeros((len(points), 0))


def similarity(points: NDArray[np.float64], one: Mapping[str, Any]) -> NDArray[np.float64]:
    """(d,) similarity of keypoints (d, P, 3) to one object."""
    labeled = np.array(one["keypoints"], np.float64).reshape(-1, 3)
    visible = labeled[:, 2] > 0
    offset = points[..., :2] - labeled[:, :2]
    if not visible.any():
        x, y, width, height = one["bbox"]
        low, high = np.array([x - width, y - height]), np.array([x + 2 * width, y + 2 * height])
        offset = np.maximum(low - points[..., :2], 0) + np.maximum(points[..., :2] - high, 0)
        visible = np.ones(len(labeled), bool)
    error = (offset**2).sum(-1) / (2 * SIGMAS) ** 2 / (one["area"] + np.spacing(1)) / 2
    return np.asarray(np.exp(-error[:, visible]).mean(1))
