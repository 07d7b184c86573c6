"""Cityscapes' instance-level AP (Cordts et al., 2016, section 4.2), as cityscapesScripts computes it.

Mean over IoU thresholds 0.5, 0.55, ..., 0.95 and classes. An overlap has to exceed the threshold; instances below 100
pixels, groups and unlabeled regions neither have to be found nor count against what lies on them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from benchmarks.datasets.predictions import Predictions
from benchmarks.datasets.request import ImageId

THRESHOLDS = tuple(np.arange(0.5, 1.0, 0.05))
SMALLEST = 100  # pixels
# Labels that are not evaluated (Cityscapes' `ignoreInEval`), by number.
UNLABELED = (-1, 0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30)

Ids = NDArray[np.int32]


@dataclass
class Segment:
    """One found mask with what lies under it. shared: pixels in common with each region of its class, by id."""

    score: float
    pixels: int
    excused: int
    shared: dict[int, int]


@dataclass
class Curve:
    """Matches of a class at a threshold over all images. images: of each score; missed, instances: of each image."""

    scores: list[float] = field(default_factory=list)
    hits: list[bool] = field(default_factory=list)
    missed: list[int] = field(default_factory=list)
    instances: list[int] = field(default_factory=list)
    images: list[int] = field(default_factory=list)

    def arrays(self) -> Matched:
        """In order of score."""
        order = np.argsort(np.array(self.scores, np.float64), kind="stable")
        parts = [np.array(part) for part in (self.scores, self.hits, self.images)]
        scores, hits, images = (part[order] if len(part) else part for part in parts)
        return Matched(
            scores, hits.astype(bool), images.astype(np.int64), np.array(self.missed), np.array(self.instances)
        )


class Matched(NamedTuple):
    """The same as arrays: scores (K,) rising, hits (K,), index of the image (K,); missed (N,), instances (N,)."""

    scores: NDArray[np.float64]
    hits: NDArray[np.bool_]
    image: NDArray[np.int64]
    missed: NDArray[np.int64]
    instances: NDArray[np.int64]


def evaluate(
    predictions: Mapping[ImageId, Predictions], instances: Callable[[ImageId], Ids], category_ids: Sequence[int]
) -> dict[str, float]:
    """instance_ap and instance_ap_50; -1 where no class has an instance. instances: ids (H, W) of an image."""
    return weighing(predictions, instances, category_ids)(np.ones(len(predictions)))


def weighing(
    predictions: Mapping[ImageId, Predictions], instances: Callable[[ImageId], Ids], category_ids: Sequence[int]
) -> Callable[[NDArray[np.float64]], dict[str, float]]:
    """The same by weights of the images."""
    curves = {(category, t): Curve() for category in category_ids for t in range(len(THRESHOLDS))}
    for index, (image_id, one) in enumerate(predictions.items()):
        ids = instances(image_id)
        regions = dict(zip(*(values.tolist() for values in np.unique(ids, return_counts=True))))
        for label, category in enumerate(category_ids):
            mine = {i: n for i, n in regions.items() if category in (i, i // 1000)}
            segments = segments_of(one, label, ids, mine)
            for t, threshold in enumerate(THRESHOLDS):
                add_image(curves[category, t], segments, mine, threshold, index)
    matched = [[curves[c, t].arrays() for t in range(len(THRESHOLDS))] for c in category_ids]

    def weigh(weights: NDArray[np.float64]) -> dict[str, float]:
        table = np.array([[average_precision(one, weights) for one in row] for row in matched])
        known = table[~np.isnan(table[:, 0])]
        return {
            "instance_ap": float(known.mean()) if len(known) else -1.0,
            "instance_ap_50": float(known[:, 0].mean()) if len(known) else -1.0,
        }

    return weigh


def segments_of(one: Predictions, label: int, ids: Ids, regions: Mapping[int, int]) -> list[Segment]:
    """The masks found for a label, with their overlaps. regions: pixels of the class's regions, by id."""
    segments = []
    for rle, kind, score in zip(one.masks or (), one.labels.tolist(), one.ranking.tolist()):
        if kind != label:
            continue
        under = ids[coco_mask.decode(rle).astype(bool)]
        if not len(under):
            continue
        values, sizes = np.unique(under, return_counts=True)
        below = dict(zip(values.tolist(), sizes.tolist()))
        unlabeled = sum(n for i, n in below.items() if i in UNLABELED)
        shared = {i: below[i] for i in regions if i in below}
        segments.append(Segment(score, len(under), unlabeled, shared))
    return segments


def add_image(
    curve: Curve, segments: Sequence[Segment], regions: Mapping[int, int], threshold: float, index: int
) -> None:
    """Match one image's masks with its instances. regions: pixels of each region of the class, by id."""
    wanted = [i for i, pixels in regions.items() if i >= 1000 and pixels >= SMALLEST]
    curve.instances.append(len(wanted))
    curve.missed.append(0)
    for i in wanted:
        scores = sorted((s.score for s in segments if overlap(s, i, regions) > threshold), reverse=True)
        curve.missed[-1] += not scores
        curve.scores += scores  # the best one is the match, the others are superfluous
        curve.hits += [k == 0 for k in range(len(scores))]
    for segment in segments:
        if any(overlap(segment, i, regions) > threshold for i in segment.shared):
            continue
        excused = segment.excused
        for i, n in segment.shared.items():
            excused += n * ((i < 1000) + (regions[i] < SMALLEST))
        if excused / segment.pixels <= threshold:
            curve.scores.append(segment.score)
            curve.hits.append(False)
    curve.images += [index] * (len(curve.scores) - len(curve.images))


def overlap(segment: Segment, region: int, regions: Mapping[int, int]) -> float:
    """Intersection over union of a mask and a region."""
    shared = segment.shared.get(region, 0)
    return shared / (segment.pixels + regions[region] - shared)


def average_precision(one: Matched, weights: NDArray[np.float64]) -> float:
    """Area under precision over recall, by the central differences that cityscapesScripts takes; NaN without instances.

    At each distinct score there is a point of the curve; the last one has precision 1 and recall 0.
    """
    if not one.instances @ weights:
        return float("nan")
    drawn = weights[one.image] > 0 if len(one.image) else np.zeros(0, bool)
    if not drawn.any():
        return 0.0
    own = weights[one.image[drawn]]
    starts = np.unique(one.scores[drawn], return_index=True)[1]
    above = np.concatenate([[0], np.cumsum(own)])
    before = np.concatenate([[0], np.cumsum(own * one.hits[drawn])])
    hit = before[-1] - before[starts]
    precision = np.append(hit / (above[-1] - above[starts]), 1.0)
    recall = np.append(hit / max(before[-1] + float(one.missed @ weights), 1), 0.0)
    steps = np.convolve(np.concatenate([recall[:1], recall, [0.0]]), [-0.5, 0, 0.5], "valid")
    return float(precision @ steps)
