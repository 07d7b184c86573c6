"""The promise of benchmarks/perf/evaluation.py, on a small part of its input."""

from __future__ import annotations

from benchmarks.perf.evaluation import encoding, evaluation


def test_coco_evaluation_is_ten_times_faster_than_pycocotools_and_bit_equal() -> None:
    result = evaluation(images=100, detections=100)
    assert result["evaluate: bit-equal"] is True
    assert float(str(result["evaluate: ratio"])) > 10


def test_masks_are_encoded_as_pycocotools_does() -> None:
    assert encoding(count=10, rounds=1)["encode: equal"] is True
