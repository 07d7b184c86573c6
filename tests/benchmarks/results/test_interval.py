"""Intervals of accuracies and of their differences, and what `bench check` makes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.accuracy import paired
from benchmarks.accuracy.uncertainty import uncertainty
from benchmarks.cli import main
from benchmarks.datasets.resampling import Resampled
from benchmarks.perf import interval_coverage
from benchmarks.reports import html_data, markdown, measured
from benchmarks.results import baseline, interval, regression
from benchmarks.results.record import Record

NOISE = np.random.default_rng(0).normal(0, 0.02, 200)
DRAWN = {"images": 38, "replicates": 200, "seed": 0, "drawn_from": "abc"}


def record(ap: float, own: float = 0.0, model: str = "mine", **parameters: Any) -> Record:
    """An accuracy whose replicates share NOISE and have some of their own."""
    replicates = ap + NOISE + np.random.default_rng(int(ap * 1e6)).normal(0, own or 1e-9, len(NOISE))
    sure = uncertainty({"box_ap": ap}, Resampled({"box_ap": replicates.tolist()}, {"box_ap": ap}, DRAWN | parameters))
    parameters = {"dataset": "coco_2017", "weights": "x", "images": 38, "notices": []} | sure.parameters
    return Record(model, "accuracy", "coco", parameters, {"box_ap": ap}, sure.samples, conditions=sure.conditions)


def test_an_interval_has_its_estimate_in_the_middle_and_stays_between_0_and_1() -> None:
    low, high = interval.of_record(record(0.3), "box_ap") or (0, 0)
    assert (low + high) / 2 == pytest.approx(0.3)
    assert high - low == pytest.approx(2 * 1.96 * 0.02, rel=0.15)
    assert interval.interval(0.99, [0.9, 1.0] * 50) == (pytest.approx(0.89, abs=0.01), 1.0)


def test_too_few_replicates_give_no_interval() -> None:
    assert interval.interval(0.5, [0.4, 0.6] * 9) is None
    assert interval.interval(-1.0, [0.4] * 100) is None


def test_what_two_runs_share_cancels_out_of_their_difference() -> None:
    compared = paired.compare(record(0.3, model="a"), record(0.31, 0.001, model="b"))
    assert compared.verdict.startswith("b is better than a in box_ap (+1.00 points, 95% interval +0.7")
    unsure = paired.compare(record(0.3, model="a"), record(0.31, 0.03, model="b"))
    assert unsure.verdict.startswith("No difference is shown between a and b in box_ap")


def test_runs_over_other_images_are_not_compared() -> None:
    compared = paired.compare(record(0.3), record(0.31, drawn_from="other"))
    assert compared.verdict == "the runs are over different images or annotations"
    old = Record("old", "accuracy", "coco", {}, {"box_ap": 0.3})
    assert paired.compare(old, record(0.3)).verdict == "the first run kept no replicates"


def test_a_metric_that_disagrees_with_its_library_gets_no_interval() -> None:
    sure = uncertainty({"box_ap": 0.3}, Resampled({"box_ap": [0.3] * 100}, {"box_ap": 0.31}, DRAWN))
    assert sure.conditions == sure.samples == {}
    assert "box_ap" in sure.notices[0]


@pytest.mark.parametrize(
    ("change", "own", "verdict"),
    [(-0.01, 0.001, "regression"), (-0.01, 0.05, "uncertain"), (0.01, 0.001, "improved"), (0.0, 0.0, "same")],
)
def test_a_check_holds_the_paired_interval_against_zero(
    tmp_path: Path, change: float, own: float, verdict: str
) -> None:
    baseline.write(baseline.make([record(0.3)]), tmp_path / "baseline.json")
    read = baseline.read(tmp_path / "baseline.json")
    finding = regression.check(read, [record(0.3 + change, own)])[0]
    assert finding.verdict == verdict
    assert finding.fails == (verdict == "regression")


def test_a_check_of_runs_without_replicates_holds_the_tolerance() -> None:
    old = Record("mine", "accuracy", "coco", {"dataset": "coco_2017", "weights": "x", "images": 38}, {"box_ap": 0.31})
    assert regression.check(baseline.make([old]), [record(0.3, 0.05)])[0].verdict == "regression"


def test_reports_have_the_interval_beside_the_number() -> None:
    text = markdown.section(measured.accuracy([record(0.3)], lambda _: None))
    assert "| 95% interval |" in text
    assert "26.2 to 33.8" in text
    shown = html_data.summary(record(0.3))["metrics"]["box_ap"]
    assert shown.startswith("0.3000 (95% interval 0.26")


def test_two_records_are_compared_by_their_ids(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks.results.store import Store

    monkeypatch.setenv("ZOO_RESULTS", str(tmp_path / "results.db"))
    first, second = record(0.3, model="a"), record(0.31, 0.001, model="b")
    Store().extend([first, second])
    assert main.main(["accuracy", second.id, "--against", first.id, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["against"]["verdict"].startswith("b is better than a")
    assert printed["against"]["record"]["id"] == first.id
    assert Store().count() == 2
    assert main.main(["accuracy", second.id, "--against", "ffffffff"]) == 1
    assert "no record whose id begins with 'ffffffff'" in capsys.readouterr().err


def test_the_simulation_of_coverage_counts_intervals() -> None:
    result = interval_coverage.coverage(datasets=4, images=60, replicates=40)
    assert result["datasets"] == 4
    assert {key for key in result if key.endswith("true value")} == {
        f"{prefix}{name}: intervals with the true value"
        for prefix in ("", "difference of ")
        for name in ("box_ap", "box_ap_50")
    }


def test_a_check_names_the_classes_that_fell() -> None:
    def with_classes(ap: float, **classes: float) -> Record:
        resampled = Resampled({"box_ap": (ap + NOISE).tolist()}, {"box_ap": ap}, DRAWN, {"box": classes})
        sure = uncertainty({"box_ap": ap}, resampled)
        parameters = {"dataset": "coco_2017", "weights": "x", "images": 38, "notices": []} | sure.parameters
        return Record("mine", "accuracy", "coco", parameters, {"box_ap": ap}, sure.samples, conditions=sure.conditions)

    then = baseline.make([with_classes(0.3, cat=0.5, dog=0.2, cow=0.2)])
    finding = regression.check(then, [with_classes(0.29, cat=0.4, dog=0.19, cow=0.3)])[0]
    assert finding.verdict == "regression"
    assert finding.detail.endswith("; fell most: cat -0.1000, dog -0.0100")
