"""COCO's average precision of many weightings of the same images, such as the replicates of a bootstrap.

Matching does not depend on the weights, so it is done once (`coco_matches`); a weighting is then a cumulative sum over
detections in order of score. A detection in an image of weight n counts as n copies of it that follow each other.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from benchmarks.datasets.coco_matches import SIZES, THRESHOLDS, Matches
from benchmarks.datasets.coco_metric import limits

Floats = NDArray[np.float64]

RECALLS = np.linspace(0, 1, 101)
BLOCK = 128  # weightings at a time: their cumulative sums stay in the cache


class MetricDefinition(NamedTuple):
    """One of COCO's APs. area: index into SIZES. threshold: index of the only IoU, None for all. limit: detections."""

    area: int
    threshold: int | None
    limit: int


@dataclass(frozen=True)
class Ranking:
    """A class's detections, for one range of areas and one limit. The fields are those of `Matches`, (D,) each.

    objects: (M,) indices of the images of the objects that count.
    """

    image: NDArray[np.int64]
    inside: NDArray[np.bool_]
    hit: NDArray[np.uint16]
    ignored: NDArray[np.uint16]
    objects: NDArray[np.int64]


def definitions(measure: str, protocol: str) -> dict[str, MetricDefinition]:
    """COCO's APs by name, as `coco_metric.metric_names` has them; none for proposals, which have recalls only."""
    if measure == "proposal":
        return {}
    most = limits(measure, protocol)[-1]
    sizes = {f"_{name}": MetricDefinition(i, None, most) for i, name in enumerate(SIZES) if i}
    if measure == "keypoint":
        del sizes["_small"]
    kinds = {
        "": MetricDefinition(0, None, min(most, 100)),
        "_50": MetricDefinition(0, 0, most),
        "_75": MetricDefinition(0, 5, most),
    } | sizes
    return {f"{measure}_ap{kind}": definition for kind, definition in kinds.items()}


def precisions(matches: Matches, wanted: dict[str, MetricDefinition], weights: Floats) -> dict[str, Floats]:
    """Each AP for each weighting: (R,), NaN where there is nothing to find.

    weights: (N, R), whole numbers, of the images.
    """
    tables: dict[tuple[int, int], Floats] = {}
    deepest = int(matches.rank.max(initial=-1)) + 1
    result = {}
    for name, (area, threshold, limit) in wanted.items():
        key = (area, min(limit, deepest))
        if key not in tables:
            tables[key] = by_class(matches, *key, weights)
        table = tables[key] if threshold is None else tables[key][:, threshold : threshold + 1]
        result[name] = known_means(table)
    return result


def recall_definitions(measure: str, protocol: str) -> dict[str, MetricDefinition]:
    """COCO's average recalls by name, as `coco_metric.metric_names` has them."""
    listed = limits(measure, protocol)
    sizes = {f"_{name}": MetricDefinition(i, None, listed[-1]) for i, name in enumerate(SIZES) if i}
    if measure == "keypoint":
        del sizes["_small"]
        kinds = {
            "": MetricDefinition(0, None, listed[-1]),
            "_50": MetricDefinition(0, 0, listed[-1]),
            "_75": MetricDefinition(0, 5, listed[-1]),
        }
    else:
        kinds = {f"_{limit}": MetricDefinition(0, None, limit) for limit in listed}
    prefix = "ar" if measure == "proposal" else f"{measure}_ar"
    return {f"{prefix}{kind}": definition for kind, definition in (kinds | sizes).items()}


def recalls(matches: Matches, wanted: dict[str, MetricDefinition], weights: Floats) -> dict[str, Floats]:
    """Each average recall for each weighting: (R,), NaN where there is nothing to find. weights: as of `precisions`."""
    result = {}
    for name, (area, threshold, limit) in wanted.items():
        table = recall_by_class(matches, area, limit, weights)
        result[name] = known_means(table if threshold is None else table[:, threshold : threshold + 1])
    return result


def recall_by_class(matches: Matches, area: int, limit: int, weights: Floats) -> Floats:
    """(K, T, R) share of the objects of each class that are found at all, as `by_class` orders them."""
    classes = np.unique(matches.object_category)
    own = np.flatnonzero((matches.hit[area] != 0) & (matches.rank < limit))
    indices = np.searchsorted(classes, matches.category[own])
    found = [own_bits(matches.hit[area, own], t) for t in range(len(THRESHOLDS))]
    rows = np.concatenate([indices[bits] * len(THRESHOLDS) + t for t, bits in enumerate(found)])
    columns = np.concatenate([matches.image[own][bits] for bits in found])
    hits = summed(rows, columns, len(classes) * len(THRESHOLDS), weights).reshape(len(classes), len(THRESHOLDS), -1)
    counted = matches.counted[area]
    indices = np.searchsorted(classes, matches.object_category[counted])
    positives = summed(indices, matches.object_image[counted], len(classes), weights)[:, None]
    return np.where(positives > 0, hits / np.maximum(positives, 1), np.nan)


def own_bits(values: NDArray[np.uint16], threshold: int) -> NDArray[np.bool_]:
    """Which values have the bit of a threshold."""
    return values >> threshold & 1 == 1


def summed(rows: NDArray[np.int64], images: NDArray[np.int64], count: int, weights: Floats) -> Floats:
    """(count, R) sum of the images' weights for each row."""
    sparse: Floats = csr_matrix((np.ones(len(rows)), (rows, images)), (count, weights.shape[0])) @ weights
    return sparse


def known_means(table: Floats) -> Floats:
    """(R,) means over classes and thresholds (K, T, R) of what is known; NaN without any."""
    known = ~np.isnan(table)
    count = known.sum((0, 1))
    total = np.where(known, table, 0.0).sum((0, 1))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def by_class(matches: Matches, area: int, limit: int, weights: Floats) -> Floats:
    """(K, T, R) AP of each class with objects, in order of their numbers; NaN where a weighting has none of them."""
    rankings = [ranking(matches, area, limit, category) for category in np.unique(matches.object_category)]
    blocks = [weights[:, start : start + BLOCK] for start in range(0, weights.shape[1], BLOCK)]
    blocks = [np.ascontiguousarray(block, np.float32) for block in blocks]
    tasks = [(one, block) for one in rankings for block in blocks]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None) as pool:
        parts = list(pool.map(lambda task: class_precision(*task), tasks))
    rows = [np.concatenate(parts[i : i + len(blocks)], 1) for i in range(0, len(parts), len(blocks))]
    return np.stack(rows) if rows else np.zeros((0, len(THRESHOLDS), weights.shape[1]))


def ranking(matches: Matches, area: int, limit: int, category: int) -> Ranking:
    """The part of the matches that one class, range of areas and limit are about."""
    first, last = np.searchsorted(matches.category, [category, category + 1])
    own = first + np.flatnonzero(matches.rank[first:last] < limit)
    objects = (matches.object_category == category) & matches.counted[area]
    return Ranking(
        matches.image[own],
        matches.inside[area, own],
        matches.hit[area, own],
        matches.ignored[area, own],
        matches.object_image[objects],
    )


def class_precision(one: Ranking, weights: NDArray[np.float32]) -> Floats:
    """(T, R) AP at each threshold for each weighting (N, R)."""
    positives = weights[one.objects].sum(0, dtype=np.float64)
    # Precision matters where it can have risen, at hits. What decides it between them is counted in one go.
    events = np.flatnonzero((one.hit != 0) | ((one.ignored != 0) & one.inside))
    counted, own = inside_so_far(one, events, weights), weights[one.image[events]].astype(np.float64)
    result = np.empty((len(THRESHOLDS), weights.shape[1]))
    for threshold in range(len(THRESHOLDS)):
        hit, ignored = (bits[events] >> threshold & 1 == 1 for bits in (one.hit, one.ignored))
        rows = np.flatnonzero(hit)
        hits = np.cumsum(own[rows], 0)
        change = np.where(hit & ~one.inside[events], 1.0, 0.0) - np.where(ignored & one.inside[events], 1.0, 0.0)
        considered = counted[rows] + corrections(change, own, rows)
        result[threshold] = area_under(hits, considered, positives)
    return np.where(positives > 0, result, np.nan)


def inside_so_far(one: Ranking, events: NDArray[np.int64], weights: NDArray[np.float32]) -> Floats:
    """(E, R) weights of the detections inside the range of areas, up to and with each event."""
    inside = np.flatnonzero(one.inside)
    rows = np.searchsorted(events, inside)
    inside, rows = inside[rows < len(events)], rows[rows < len(events)]
    shape = (len(events), weights.shape[0])
    between = csr_matrix((np.ones(len(rows), np.float32), (rows, one.image[inside])), shape) @ weights
    return np.cumsum(between, 0, dtype=np.float64)


def corrections(change: Floats, own: Floats, rows: NDArray[np.int64]) -> Floats | float:
    """(H, R) what detections up to and with each of `rows` count beyond `inside_so_far`. change: (E,) 1, 0 or -1."""
    changing = np.flatnonzero(change)
    if not len(changing):
        return 0.0
    total = np.cumsum(own[changing] * change[changing, None], 0)
    total = np.concatenate([np.zeros((1, own.shape[1])), total])
    return total[np.searchsorted(changing, rows, side="right")]


def area_under(hits: Floats, considered: Floats, positives: Floats) -> Floats:
    """(R,) mean of the precision made falling at COCO's 101 recalls. hits, considered: (H, R) cumulative weights."""
    if not len(hits):
        return np.zeros(len(positives))
    falling = np.maximum.accumulate((hits / np.maximum(considered, 1))[::-1], 0)[::-1]
    reached = np.searchsorted(RECALLS, hits / np.maximum(positives, 1), side="right")
    steps = np.diff(reached, axis=0, prepend=0)
    return np.einsum("hr,hr->r", falling, steps.astype(np.float64)) / len(RECALLS)


def draw(images: int, replicates: int, seed: int) -> Floats:
    """(N, R) how often each image is drawn. The numbers of a seed are the same in all versions of NumPy."""
    random = np.random.RandomState(seed)
    columns = [np.bincount(random.randint(images, size=images), minlength=images) for _ in range(replicates)]
    return np.stack(columns, 1).astype(np.float64) if columns else np.zeros((images, 0))


def classes_with_objects(matches: Matches) -> Sequence[int]:
    """The numbers of the classes in the order of `by_class`."""
    return [int(one) for one in np.unique(matches.object_category)]
