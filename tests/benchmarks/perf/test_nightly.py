"""The estimate of a night, by hand."""

from __future__ import annotations

import pytest

import zoo
from benchmarks.perf import nightly
from benchmarks.results.record import Record


def test_rows_go_where_a_gpu_is_free() -> None:
    assert nightly.makespan([1, 1, 1, 3], 2) == 4
    assert nightly.makespan([3, 1, 1, 1], 2) == 3


def test_a_long_row_is_dealt_out_and_each_part_loads_the_network() -> None:
    assert nightly.dealt_out(130, fixed=10, split=60) == [70, 70]
    assert nightly.dealt_out(50, fixed=10, split=60) == [50]


def test_what_was_measured_here_comes_before_what_was_published() -> None:
    entries = [zoo.get(name) for name in ("retinanet_r50_fpn_1x_coco", "retinanet_r101_fpn_1x_coco")]
    record = Record("retinanet_r50_fpn_1x_coco", "inference", parameters={"batch": 1}, metrics={"fps": 50.0})
    costs = nightly.costs_of(entries, nightly.measured([record], None))
    assert costs["retinanet_r50_fpn_1x_coco"] == (pytest.approx(0.02), "here")
    assert costs["retinanet_r101_fpn_1x_coco"].source == "published"


def test_a_night_of_the_zoo_has_every_model() -> None:
    entries = [zoo.get(name) for name in zoo.list_models()]
    night = nightly.night(entries, nightly.costs_of(entries, {}), 64, 40, 1200)
    assert night["models"] == len(entries)
    assert night["hours if evenly spread"] <= night["hours, longest first"] <= night["hours, alphabetical"] + 1e-9
