"""Published numbers are compared with the same number, measured."""

from __future__ import annotations

import pytest

import zoo
from benchmarks.accuracy import published_metrics
from benchmarks.datasets.catalog import spec

COCO = {"dataset": "coco_2017", "split": "val"}


def test_published_and_measured_are_compared_in_points() -> None:
    (row,) = published_metrics.compare(
        zoo.get("faster_rcnn_r50_fpn_1x_coco"), COCO, {"box_ap": 0.3747, "box_ap_50": 0.58}
    )
    assert row["metric"] == "box_ap" and row["published"] == 37.4
    assert row["difference"] == pytest.approx(0.07)
    assert "maxDets=(100, 300, 1000)" in row["definition"]


def test_a_part_of_the_images_has_no_difference_and_says_how_many_it_were() -> None:
    part = COCO | {"images": 38, "all_images": 5000}
    (row,) = published_metrics.compare(zoo.get("faster_rcnn_r50_fpn_1x_coco"), part, {"box_ap": 0.3747})
    assert row["difference"] is None
    assert row["definition"].startswith("38 of 5,000 images")
    (row,) = published_metrics.compare(
        zoo.get("faster_rcnn_r50_fpn_1x_coco"), part | {"images": 5000}, {"box_ap": 0.374}
    )
    assert row["difference"] == pytest.approx(0)


def test_detectron2_published_the_standard_reading() -> None:
    (row,) = published_metrics.compare(zoo.get("detectron2/retinanet_R_50_FPN_1x"), COCO, {"box_ap": 0.37})
    assert "maxDets=(1, 10, 100)" in row["definition"]


def test_proposals_were_published_with_greedy_matching() -> None:
    for name in ("rpn_r50_fpn_1x_coco", "detectron2/rpn_R_50_FPN_1x"):
        (row,) = published_metrics.compare(zoo.get(name), COCO, {"ar_1000": 0.5, "greedy_ar_1000": 0.6})
        assert row["metric"] == "greedy_ar_1000" and row["measured"] == pytest.approx(60)


def test_other_images_than_the_published_ones_are_not_compared() -> None:
    entry = zoo.get("vfnet_r50_fpn_1x_coco")
    assert len(entry.metrics) == 2  # val and test-dev
    assert published_metrics.published(entry, "coco_2017", "val") == entry.metrics["coco_2017_val"]
    assert published_metrics.published(entry, "coco_2017", "train") == {}
    assert published_metrics.published(entry, "demo", "val") == {}


def test_what_was_not_there_to_find_is_not_compared() -> None:
    assert published_metrics.compare(zoo.get("faster_rcnn_r50_fpn_1x_coco"), COCO, {"box_ap": -1.0}) == []


# What each dataset's reader measures for its split.
MEASURED = {
    "coco": {"box_ap", "mask_ap", "greedy_ar_1000"},
    "panoptic": {"box_ap", "mask_ap"} | {f"{q}q{of}" for q in "psr" for of in ("", "_things", "_stuff")},
    "lvis": {"box_ap", "mask_ap"},
    "voc": {"map_50"},
    "cityscapes": {"box_ap", "mask_ap"},
    "open_images": {"map_50"},
    "crowdhuman": {"ap_50"},
}


def test_every_published_number_has_a_measured_one_beside_it() -> None:
    """Except those that were published with test-time augmentation or on test-dev, which we do not run."""
    for name in zoo.list_models():
        entry = zoo.get(name)
        one = spec(entry.dataset)
        for metric in published_metrics.published(entry, one.name, one.split):
            predictions = published_metrics.definition_of(metric, entry)
            apart = metric.endswith(("_flip", "_tta"))
            assert apart or predictions.measured in MEASURED[one.reader.partition(":")[0]], (name, metric)
