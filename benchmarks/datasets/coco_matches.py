"""Which detections match which objects, by COCO's rules, for everything that an average precision depends on.

The matching is COCOeval's: in an image and class, best score first, a detection takes the free object that it overlaps
most; objects that do not count (crowds, another size) are taken only where no counted one is left, and crowds by any
number of detections. What is kept is enough to compute the precision of any weighting of the images.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from benchmarks.datasets.coco_results import Results, Source
from benchmarks.datasets.request import ImageId
from zoo.coco_format.keypoint_similarity import object_similarity

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

THRESHOLDS = np.linspace(0.5, 0.95, 10)
LARGEST = 1e5**2
SIZES = {"all": (0.0, LARGEST), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, LARGEST)}
AREAS = np.array(list(SIZES.values()))
IMAGES = 200  # results are taken for so many images at a time
CELLS = 2_000_000  # of the arrays of one round of matching


@dataclass(frozen=True)
class Matches:
    """D detections and M objects of N images, matched for each of A = 4 ranges of areas and T = 10 thresholds.

    images: (N,) ids. image, category, score, rank: (D,) of each detection, ordered by category and then by falling
    score; image is an index into `images`, rank the position among those of its image and category. inside: (A, D)
    whether its area is in the range. hit, ignored: (A, D), bit t is set where it matches an object that counts, or one
    that does not, at threshold t. object_image, object_category: (M,); counted: (A, M).
    """

    images: Sequence[ImageId]
    image: NDArray[np.int64]
    category: NDArray[np.int64]
    score: Floats
    rank: NDArray[np.int64]
    inside: Bools
    hit: NDArray[np.uint16]
    ignored: NDArray[np.uint16]
    object_image: NDArray[np.int64]
    object_category: NDArray[np.int64]
    counted: Bools


class Objects(NamedTuple):
    """Objects of the images, ordered by image and category. shapes: of what the measure compares."""

    image: NDArray[np.int64]
    category: NDArray[np.int64]
    crowd: Bools
    ignored: Bools
    shapes: Any


class Detected(NamedTuple):
    """Detections of some images, ordered by image, category and falling score. shapes: of what the measure compares."""

    image: NDArray[np.int64]
    category: NDArray[np.int64]
    score: Floats
    rank: NDArray[np.int64]
    area: Floats
    shapes: Any


class Pair(NamedTuple):
    """Detections and objects of one class in one image. first: index of its first detection. iou: (d, g)."""

    first: int
    iou: Floats
    ignored: Bools
    crowd: Bools


def match(
    ground_truth: Mapping[str, Any],
    results: Source,
    measure: str,
    image_ids: Sequence[ImageId],
    category_ids: Sequence[int],
    limit: int,
) -> Matches:
    """Match the detections of `image_ids`; arguments as for `coco_metric.evaluate`.

    measure: box, mask or keypoint. limit: detections that count for each image and class.
    """
    images = sorted(image_ids)  # type: ignore[type-var]
    objects = objects_of(ground_truth, measure, images, category_ids)
    parts = []
    for start in range(0, len(images), IMAGES):
        detected = detected_in(results(images[start : start + IMAGES]), measure, images, limit)
        parts.append((detected, *matched(detected, objects, measure)))
    return joined(images, parts, objects)


def objects_of(
    ground_truth: Mapping[str, Any], measure: str, images: Sequence[ImageId], category_ids: Sequence[int]
) -> Objects:
    """The objects of these images and categories."""
    index, wanted = {image: i for i, image in enumerate(images)}, set(category_ids)
    rows = [r for r in ground_truth["annotations"] if r["image_id"] in index and r["category_id"] in wanted]
    image = np.array([index[row["image_id"]] for row in rows], np.int64)
    category = np.array([row["category_id"] for row in rows], np.int64)
    order = np.lexsort((category, image)).tolist()
    rows = [rows[i] for i in order]
    crowd = np.array([bool(row.get("iscrowd")) for row in rows], bool)
    nothing = [measure == "keypoint" and not row["num_keypoints"] for row in rows]
    area = np.array([row["area"] for row in rows], np.float64)
    outside = (area < AREAS[:, :1]) | (area > AREAS[:, 1:])
    shapes = [shape_of(row, measure) for row in rows]
    return Objects(image[order], category[order], crowd, outside | crowd | np.array(nothing, bool), shapes)


def shape_of(row: Mapping[str, Any], measure: str) -> Any:
    """What overlaps are computed from: xywh, an RLE, or the annotation with its keypoints."""
    return row if measure == "keypoint" else row["segmentation" if measure == "mask" else "bbox"]


def detected_in(results: Results, measure: str, images: Sequence[ImageId], limit: int) -> Detected:
    """Results in order, at most `limit` of an image and class."""
    index = {image: i for i, image in enumerate(images)}
    if isinstance(results, np.ndarray):
        image, shapes = np.array([index[int(i)] for i in results[:, 0]], np.int64), results[:, 1:5]
        score, category, area = results[:, 5], results[:, 6].astype(np.int64), shapes[:, 2] * shapes[:, 3]
    else:
        image = np.array([index[row["image_id"]] for row in results], np.int64)
        score = np.array([row["score"] for row in results], np.float64)
        category = np.array([row["category_id"] for row in results], np.int64)
        listed = [shape_of(row, measure) for row in results]
        area = np.array([area_of(shape, measure) for shape in listed], np.float64)
        shapes = np.empty(len(listed), object)
        shapes[:] = listed
    order = np.lexsort((-score, category, image))
    rank = ranks(image[order], category[order])
    order, rank = order[rank < limit], rank[rank < limit]
    return Detected(image[order], category[order], score[order], rank, area[order], shapes[order])


def area_of(shape: Any, measure: str) -> float:
    """What decides how large a detection is: its box, its mask, or the extent of its keypoints."""
    if measure == "mask":
        return float(coco_mask.area(shape))
    if measure == "box":
        return float(shape[2] * shape[3])
    x, y = shape["keypoints"][0::3], shape["keypoints"][1::3]
    return float((max(x) - min(x)) * (max(y) - min(y)))


def ranks(image: NDArray[np.int64], category: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rank of each detection within its image and category, for sorted ones."""
    starts = starts_of(image, category)
    lengths = np.diff(np.append(starts, len(image)))
    return np.arange(len(image)) - np.repeat(starts, lengths)


def starts_of(image: NDArray[np.int64], category: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where the groups of equal image and category begin."""
    if not len(image):
        return np.zeros(0, np.int64)
    return np.flatnonzero(np.append(True, (np.diff(image) != 0) | (np.diff(category) != 0)))


def matched(detected: Detected, objects: Objects, measure: str) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """(hit, ignored): (A, D) bits, as in `Matches`."""
    hit, ignored = np.zeros((2, len(AREAS), len(detected.image)), np.uint16)
    for stack in stacks(sorted(pairs(detected, objects, measure), key=lambda pair: pair.iou.shape[::-1])):
        bits = match_stack(*padded(stack))
        for pair, hits, misses in zip(stack, *bits):
            span = slice(pair.first, pair.first + pair.iou.shape[0])
            hit[:, span], ignored[:, span] = hits[:, : pair.iou.shape[0]], misses[:, : pair.iou.shape[0]]
    return hit, ignored


def pairs(detected: Detected, objects: Objects, measure: str) -> Iterator[Pair]:
    """Detections and objects of each class and image that has both, where something could match."""
    starts = starts_of(objects.image, objects.category)
    ends = np.append(starts[1:], len(objects.image))
    keys = zip(objects.image[starts].tolist(), objects.category[starts].tolist())
    spans = dict(zip(keys, zip(starts.tolist(), ends.tolist())))
    firsts = starts_of(detected.image, detected.category)
    for first, last in zip(firsts.tolist(), np.append(firsts[1:], len(detected.image)).tolist()):
        span = spans.get((int(detected.image[first]), int(detected.category[first])))
        if span is None:
            continue
        own = slice(*span)
        iou = overlaps(detected.shapes[first:last], objects.shapes[own], objects.crowd[own], measure)
        if (iou >= THRESHOLDS[0]).any():
            yield Pair(first, iou, objects.ignored[:, own], objects.crowd[own])


def overlaps(detections: Sequence[Any], objects: Sequence[Any], crowd: Bools, measure: str) -> Floats:
    """(d, g) IoU of boxes or masks, over the detection's own area for crowds; or object keypoint similarity."""
    if measure == "keypoint":
        return object_similarity([row["keypoints"] for row in detections], objects)
    shapes: list[Any] = [detections, objects]
    if measure == "box":
        shapes = [np.array(list(listed), np.float64).reshape(-1, 4) for listed in shapes]
    else:
        shapes = [list(listed) for listed in shapes]
    return np.asarray(coco_mask.iou(*shapes, crowd.astype(np.uint8).tolist()), np.float64)


def stacks(ordered: Sequence[Pair]) -> Iterator[Sequence[Pair]]:
    """Neighbors of similar shape, so many that their arrays stay small. ordered: by objects, then detections."""
    start = 0
    while start < len(ordered):
        end, objects, most = start, ordered[start].iou.shape[1], 0
        while end < len(ordered) and ordered[end].iou.shape[1] <= max(2, 2 * objects):
            most = max(most, ordered[end].iou.shape[0])
            if end > start and (end - start) * (most + 40) * 2 * objects > CELLS:
                break
            end += 1
        yield ordered[start:end]
        start = end


def padded(stack: Sequence[Pair]) -> tuple[Floats, Bools, Bools]:
    """(P, D, G) overlaps, -1 where there is nothing; (P, A, G) ignored, (P, G) crowd."""
    count, depth, width = (len(stack), *(max(pair.iou.shape[side] for pair in stack) for side in (0, 1)))
    iou = np.full((count, depth, width), -1.0)
    ignored, crowd = np.ones((count, len(AREAS), width), bool), np.zeros((count, width), bool)
    for i, pair in enumerate(stack):
        d, g = pair.iou.shape
        iou[i, :d, :g], ignored[i, :, :g], crowd[i, :g] = pair.iou, pair.ignored, pair.crowd
    return iou, ignored, crowd


def match_stack(iou: Floats, ignored: Bools, crowd: Bools) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """(hit, ignored): (P, A, D) bits by threshold. Rank by rank, all pairs, areas and thresholds at once."""
    count, depth, width = iou.shape
    hits, misses = np.zeros((2, count, len(AREAS), depth), np.uint16)
    taken = np.zeros((count, len(AREAS), len(THRESHOLDS), width), bool)
    bits = (1 << np.arange(len(THRESHOLDS))).astype(np.uint16)
    lowest = np.minimum(THRESHOLDS, 1 - 1e-10)[:, None]
    passed_over = ignored[:, :, None]
    for rank in range(depth):
        shared = iou[:, rank, None, None]
        free = (shared >= lowest) & ~taken
        counted = free & ~passed_over
        open_to = np.where(counted.any(-1, keepdims=True), counted, free)
        # Of equal overlaps the last object is taken.
        best = width - 1 - np.where(open_to, shared, -1.0)[..., ::-1].argmax(-1)
        chosen = (np.arange(width) == best[..., None]) & open_to
        hit, any_match = (chosen & counted).any(-1), chosen.any(-1)
        hits[..., rank], misses[..., rank] = (hit * bits).sum(-1), ((any_match & ~hit) * bits).sum(-1)
        taken |= chosen & ~crowd[:, None, None]
    return hits, misses


def joined(
    images: Sequence[ImageId],
    parts: Sequence[tuple[Detected, NDArray[np.uint16], NDArray[np.uint16]]],
    objects: Objects,
) -> Matches:
    """All images together, detections by category and falling score; equal scores stay in the order of the images."""
    image, category, score, rank, area = (
        np.concatenate([getattr(part[0], name) for part in parts])
        for name in ("image", "category", "score", "rank", "area")
    )
    order = np.lexsort((-score, category))
    hit, ignored = (np.concatenate([part[i] for part in parts], 1)[:, order] for i in (1, 2))
    area = area[order]
    return Matches(
        images=images,
        image=image[order],
        category=category[order],
        score=score[order],
        rank=rank[order],
        inside=(area >= AREAS[:, :1]) & (area <= AREAS[:, 1:]),
        hit=hit,
        ignored=ignored,
        object_image=objects.image,
        object_category=objects.category,
        counted=~objects.ignored,
    )
