"""How often a 95% interval of `bench accuracy` contains the AP of all images there are.

    nice python -m benchmarks.perf.interval_coverage [--datasets 500] [--images 500] [--replicates 400] [--json]

A large population of images is generated: objects of ten classes, some of them rare, detected with scores and overlaps
that depend on how difficult their image is. Its AP is the true one. Each dataset is a random sample of its images, with
an interval made from this sample alone. Of 500 intervals of 95%, between 93% and 97% have to contain the true AP. The
same for the difference between two detectors, the second of which is made from the first.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.datasets import coco_bootstrap
from benchmarks.datasets.coco_matches import SIZES, THRESHOLDS, Matches
from benchmarks.perf.printed import numbers
from benchmarks.results import interval

CLASSES = 10
OBJECTS = 6.0  # of an image, on average
CHANCE = 4.0  # detections of nothing in an image, on average
POPULATION = 40_000
DEFINITIONS = coco_bootstrap.definitions("box", "coco")
SHOWN = {name: DEFINITIONS[name] for name in ("box_ap", "box_ap_50")}
Floats = NDArray[np.float64]


def main() -> None:
    """Simulate, and print the table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--datasets", type=int, default=500)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--replicates", type=int, default=400)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    result = coverage(args.datasets, args.images, args.replicates)
    print(numbers(result, args.json, width=44))


def coverage(datasets: int, images: int, replicates: int, seed: int = 0) -> dict[str, Any]:
    """The share of intervals that contain the true value, and their mean width in points, by metric."""
    random = np.random.default_rng(seed)
    population = generate(random, POPULATION)
    other = improved(random, population)
    true = [estimates(one, np.ones((POPULATION, 1))) for one in (population, other)]
    inside: dict[str, list[bool]] = {}
    widths: dict[str, list[float]] = {}
    for _ in range(datasets):
        chosen = random.choice(POPULATION, images, replace=False)
        for name, pair, true_value in intervals(population, other, chosen, replicates, true):
            inside.setdefault(name, []).append(bool(pair[0] <= true_value <= pair[1]))
            widths.setdefault(name, []).append(100 * (pair[1] - pair[0]))
    about: dict[str, Any] = {"datasets": datasets, "images of each": images, "replicates": replicates}
    about |= {f"true {name}": round(float(values[0]), 4) for name, values in true[0].items()}
    covered = {f"{name}: intervals with the true value": f"{np.mean(hits):.1%}" for name, hits in inside.items()}
    return about | covered | {f"{name}: mean width, points": round(float(np.mean(w)), 2) for name, w in widths.items()}


def intervals(
    first: Matches, second: Matches, chosen: NDArray[np.int64], replicates: int, true: list[dict[str, Floats]]
) -> list[tuple[str, tuple[float, float], float]]:
    """(metric, interval, true value) of one dataset, for the first detector and for the difference."""
    weights = np.concatenate([np.ones((len(chosen), 1)), coco_bootstrap.draw(len(chosen), replicates, 0)], 1)
    a, b = (estimates(part(one, chosen), weights) for one in (first, second))
    result = []
    for name in SHOWN:
        if pair := interval.interval(a[name][0], a[name][1:].tolist()):
            result.append((name, pair, float(true[0][name][0])))
        values = (a[name][0], b[name][0], a[name][1:].tolist(), b[name][1:].tolist())
        if difference := interval.paired(name, *values):
            true_value = float(true[1][name][0] - true[0][name][0])
            result.append((f"difference of {name}", (difference.low, difference.high), true_value))
    return result


def estimates(matches: Matches, weights: Floats) -> dict[str, Floats]:
    """The APs of each weighting."""
    return coco_bootstrap.precisions(matches, SHOWN, weights)


def generate(random: np.random.Generator, images: int) -> Matches:
    """Objects and detections of a population. Difficult images have lower scores and overlaps, and more mistakes."""
    difficulty = random.normal(0, 1, images)
    share = 1 / np.arange(1, CLASSES + 1)
    object_image = np.repeat(np.arange(images), random.poisson(OBJECTS * np.exp(0.3 * difficulty)))
    object_category = random.choice(CLASSES, len(object_image), p=share / share.sum()) + 1
    quality = random.normal(0.9, 0.8, len(object_image)) - 0.5 * difficulty[object_image]
    overlap = 1 / (1 + np.exp(-quality - 0.8))
    hits = (overlap[:, None] >= THRESHOLDS) @ (1 << np.arange(len(THRESHOLDS)))
    scores = 0.8 * quality + random.normal(0, 0.6, len(quality))
    mistakes = np.repeat(np.arange(images), random.poisson(CHANCE * np.exp(0.5 * difficulty)))
    image = np.concatenate([object_image, mistakes])
    category = np.concatenate([object_category, random.choice(CLASSES, len(mistakes), p=share / share.sum()) + 1])
    score = np.concatenate([scores, random.normal(-0.6, 0.8, len(mistakes))])
    bits = np.concatenate([hits, np.zeros(len(mistakes), np.int64)])
    return assemble(images, image, category, score, bits, object_image, object_category)


def assemble(
    images: int,
    image: NDArray[np.int64],
    category: NDArray[np.int64],
    score: Floats,
    bits: NDArray[np.int64],
    object_image: NDArray[np.int64],
    object_category: NDArray[np.int64],
) -> Matches:
    """Matches of objects of any size."""
    order = np.lexsort((-score, category))
    sizes = len(SIZES)
    return Matches(
        images=range(images),
        image=image[order],
        category=category[order],
        score=score[order],
        rank=np.zeros(len(order), np.int64),
        inside=np.ones((sizes, len(order)), bool),
        hit=np.tile(bits[order].astype(np.uint16), (sizes, 1)),
        ignored=np.zeros((sizes, len(order)), np.uint16),
        object_image=object_image,
        object_category=object_category,
        counted=np.ones((sizes, len(object_image)), bool),
    )


def improved(random: np.random.Generator, matches: Matches) -> Matches:
    """A second detector: the scores of the first with noise, and some of its mistakes lower."""
    lowered = (matches.hit[0] == 0) & (random.random(len(matches.score)) < 0.3)
    score = matches.score + random.normal(0, 0.3, len(matches.score)) - np.where(lowered, 0.8, 0)
    order = np.lexsort((-score, matches.category))
    return replace(
        matches,
        image=matches.image[order],
        category=matches.category[order],
        score=score[order],
        hit=matches.hit[:, order],
    )


def part(matches: Matches, chosen: NDArray[np.int64]) -> Matches:
    """Only some images, numbered anew."""
    index = np.full(len(matches.images), -1)
    index[chosen] = np.arange(len(chosen))
    own, objects = np.flatnonzero(index[matches.image] >= 0), np.flatnonzero(index[matches.object_image] >= 0)
    return Matches(
        images=range(len(chosen)),
        image=index[matches.image[own]],
        category=matches.category[own],
        score=matches.score[own],
        rank=matches.rank[own],
        inside=matches.inside[:, own],
        hit=matches.hit[:, own],
        ignored=matches.ignored[:, own],
        object_image=index[matches.object_image[objects]],
        object_category=matches.object_category[objects],
        counted=matches.counted[:, objects],
    )


if __name__ == "__main__":
    main()
