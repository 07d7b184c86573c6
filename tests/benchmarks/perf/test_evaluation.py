"""The promise of benchmarks/perf/evaluation.py, on a small part of its input."""

from __future__ import annotations

from benchmarks.perf.evaluation import encoding, evaluation


def test_coco_evaluation_is_much_faster_than_pycocotools_and_bit_equal() -> None:
    """The benchmark's goal is ten times; a busy machine stops one side of a single run now and then."""
    results = [evaluation(images=100, detections=100) for _ in range(3)]
    assert all(result["evaluate: bit-equal"] is True for result in results)
    assert max(float(str(result["evaluate: ratio"])) for result in results) > 5


def test_masks_are_encoded_as_pycocotools_does() -> None:
    assert encoding(count=10, rounds=1)["encode: equal"] is True
