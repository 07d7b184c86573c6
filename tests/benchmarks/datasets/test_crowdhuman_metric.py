"""CrowdHuman's AP, miss rate and Jaccard index, by hand and against a plain rewriting of their definitions."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from benchmarks.datasets.crowdhuman_metric import REFERENCES, CrowdImage, clipped, crowd_metrics

PERSON, OTHER, FAR = [0, 0, 10, 20], [20, 0, 30, 20], [60, 60, 70, 80]


def boxes(*rows: list[float]) -> np.ndarray:
    """Rows as (N, 4)."""
    return np.array(rows, np.float64).reshape(-1, 4)


def image(
    found: list[list[float]], scores: list[float], persons: list[list[float]], regions: list[list[float]]
) -> CrowdImage:
    """One image."""
    return CrowdImage(boxes(*found), np.array(scores), boxes(*persons), boxes(*regions))


def test_a_second_detection_of_a_person_is_wrong_unless_it_lies_in_an_ignored_region() -> None:
    twice = image([PERSON, PERSON, OTHER], [0.9, 0.8, 0.7], [PERSON, OTHER], [])
    # Precision 1, 1/2, 2/3 at recalls 1/2, 1/2, 1.
    assert crowd_metrics([twice])["ap_50"] == pytest.approx(0.5 * (1 / 2 + 2 / 3) / 2)
    ignored = twice._replace(regions=boxes(PERSON))
    assert crowd_metrics([ignored])["ap_50"] == pytest.approx(0.5)
    # Matched: 2 of 2 persons and 3 detections, of which one counts for nothing in the second image.
    assert crowd_metrics([twice])["jaccard_index"] == pytest.approx(2 / 3, abs=1e-5)
    assert crowd_metrics([ignored])["jaccard_index"] == pytest.approx(1, abs=1e-5)


def test_the_miss_rate_is_read_at_nine_rates_of_false_positives() -> None:
    # One false positive, scored between two persons, in ten images: 0.1 false positives per image.
    images = [image([PERSON, FAR, OTHER], [0.9, 0.8, 0.7], [PERSON, OTHER, [40, 0, 50, 20]], [])]
    images += [image([], [], [], [])] * 9
    below = sum(reference <= 0.1 for reference in REFERENCES)  # found then: one of three; after it: two of three
    expected = np.exp((below * np.log(2 / 3) + (9 - below) * np.log(1 / 3)) / 9)
    assert crowd_metrics(images)["miss_rate"] == pytest.approx(expected)


def test_the_jaccard_index_takes_the_best_threshold_and_the_largest_matching() -> None:
    # The first detection reaches both persons, the second only the first: two pairs, though a greedy choice has one.
    first, second = [0, 0, 10, 20], [3, 0, 13, 20]
    one = image([[1, 0, 11, 20], [-4, 0, 6, 20], FAR], [0.9, 0.8, 0.05], [first, second], [])
    assert crowd_metrics([one])["jaccard_index"] == pytest.approx(1 / 2, abs=1e-5)
    both = image([[1, 0, 11, 20], [-1, 0, 9, 20], FAR], [0.9, 0.8, 0.05], [first, second], [])
    assert crowd_metrics([both])["jaccard_index"] == pytest.approx(1, abs=1e-5)


def test_without_detections_everybody_is_missed_and_without_persons_there_is_no_number() -> None:
    assert crowd_metrics([image([], [], [PERSON], [])]) == {"ap_50": 0, "miss_rate": 1, "jaccard_index": 0}
    assert set(crowd_metrics([image([PERSON], [0.5], [], [PERSON])]).values()) == {-1}


def test_upper_corners_are_clipped_one_pixel_before_the_edge() -> None:
    assert clipped(boxes([-5, -5, 500, 500], [400, 400, 450, 450]), (80, 120)).tolist() == [
        [0, 0, 120, 80],
        [119, 79, 120, 80],
    ]


@pytest.mark.parametrize("seed", range(4))
def test_matching_is_that_of_the_protocol_step_by_step(seed: int) -> None:
    random = np.random.default_rng(seed)
    images = [scene(random) for _ in range(6)]
    assert crowd_metrics(images)["ap_50"] == pytest.approx(plain_ap(images), abs=1e-9)


def scene(random: np.random.Generator) -> CrowdImage:
    """Persons and regions at random, detections near them."""
    at = random.uniform(0, 60, (9, 2))
    bodies = np.concatenate([at, at + random.uniform(10, 30, (9, 2))], 1)
    found = np.repeat(bodies, 3, 0) + random.normal(0, 2.5, (27, 4))
    scores = np.sort(random.uniform(0, 1, 27))[::-1]
    return CrowdImage(found[random.permutation(27)], scores, bodies[:6], bodies[6:])


def plain_ap(images: list[CrowdImage]) -> float:
    """The protocol as a person would do it, box by box."""
    listed: list[tuple[float, bool]] = []
    for one in images:
        free = list(range(len(one.persons)))
        for box, score in zip(one.boxes, one.scores):
            best = max(free, key=lambda i: iou(box, one.persons[i]), default=None)
            if best is not None and iou(box, one.persons[best]) > 0.5:
                free.remove(best)
                listed.append((score, True))
            elif not any(shared(box, region) / max(size(box), 1e-6) > 0.5 for region in one.regions):
                listed.append((score, False))
    listed.sort(key=lambda pair: -pair[0])
    total, hits, points = sum(len(one.persons) for one in images), 0, []
    for number, (_, hit) in enumerate(listed, 1):
        hits += hit
        points.append((hits / total, hits / number))
    return sum((r - q) * (p + o) / 2 for (q, o), (r, p) in pairwise(points))


def size(box: np.ndarray) -> float:
    """Area."""
    return max(box[2] - box[0], 0) * max(box[3] - box[1], 0)


def shared(a: np.ndarray, b: np.ndarray) -> float:
    """Area that two boxes share."""
    return size(np.concatenate([np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])]))


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union."""
    return shared(a, b) / (size(a) + size(b) - shared(a, b))
