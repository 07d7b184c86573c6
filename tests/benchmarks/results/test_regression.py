"""Regression checks: what fails, what passes, and that nothing passes by being absent."""

from __future__ import annotations

import json
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks.cli import main
from benchmarks.reports import findings as output
from benchmarks.reports import markdown
from benchmarks.results import baseline, fingerprint, regression
from benchmarks.results.record import Record, failed
from benchmarks.results.sample_names import CPU_SAMPLES, SAMPLES
from benchmarks.results.store import Store
from benchmarks.results.tolerances import Tolerances

HOST = {"device": "CPU A", "host": {"vector_units": "AVX2"}}


def speed(factor: float = 1.0, load: float = 1.0, seed: int = 0, time: str = "2026-01-01T00:00:00", **values) -> Record:
    """A record of a detector `factor` times as slow as usual, on a machine slowed down `load` times."""
    rng = np.random.default_rng(seed)
    busy = load * (1 + rng.exponential(0.1, 200))
    samples = {
        "latency_s": list(0.1 * factor * busy * rng.normal(1, 0.02, 200)),
        SAMPLES: list(0.02 * busy * rng.normal(1, 0.02, 200)),
    }
    metrics = {"fps": 10 / factor, "parameters": 1000, "flops": 5000}
    return Record("net", "inference", "interleaved", {"batch": 1}, metrics, samples, HOST, time=time, **values)


def accuracy(ap: float, **values) -> Record:
    return Record("net", "accuracy", "coco", {"dataset": "coco_2017"}, {"box_ap": ap}, environment=HOST, **values)


def verdicts(before: list[Record], after: list[Record], **tolerances) -> dict[str, str]:
    made = baseline.make(before, Tolerances(**tolerances))
    return {f.quantity: f.verdict for f in regression.check(made, after)}


@pytest.mark.parametrize("load", [1.0, 2.5])
def test_a_busy_machine_is_no_regression(load):
    assert verdicts([speed()], [speed(load=load, seed=1)])["relative time"] == "same"


def test_a_slowdown_of_15_percent_is_caught_on_a_busy_machine():
    assert verdicts([speed()], [speed(1.15, load=2.0, seed=1)])["relative time"] == "regression"


def test_a_faster_detector_is_reported_and_does_not_fail():
    findings = regression.check(baseline.make([speed()]), [speed(0.8, seed=1)])
    assert [f.verdict for f in findings if f.quantity == "relative time"] == ["improved"]
    assert not any(f.fails for f in findings)


def apart(*factors: float, commit: str = "abc", month: int = 1) -> list[Record]:
    """Records of one detector, which was so many times as slow as usual in each process."""
    where = HOST | {"commit": commit}
    return [
        replace(speed(factor, seed=day, time=f"2026-{month:02}-{day:02}T00:00:00"), environment=where)
        for day, factor in enumerate(factors, 1)
    ]


def test_one_odd_process_of_several_is_no_alarm():
    usual, odd = apart(1.0, 1.02, 0.98, 1.0, 0.97), apart(1.01, 0.99, 1.0, 0.98, 1.12, month=2)
    assert verdicts(usual, odd[-1:])["relative time"] == "regression"
    assert verdicts(usual, odd)["relative time"] == "same"
    (finding,) = [f for f in regression.check(baseline.make(usual), odd) if f.quantity == "relative time"]
    assert "runs 5 and 5" in finding.detail


def test_a_slowdown_of_all_processes_is_caught():
    slower = apart(1.16, 1.14, 1.15, 1.13, 1.17, month=2)
    assert verdicts(apart(1.0, 1.02, 0.98, 1.0, 0.97), slower)["relative time"] == "regression"


def test_older_times_do_not_stand_in_for_those_that_the_newest_record_lacks():
    before = apart(1.0, 1.0, 1.0)
    bare = replace(before[-1], samples={"latency_s": [0.1] * 20}, time="2026-02-01T00:00:00")
    assert verdicts(before, [*before, bare])["relative time"] == "missing"


def test_measurements_of_older_code_do_not_hide_a_slowdown():
    before = apart(1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    assert verdicts(before, before + apart(1.15, commit="def", month=2))["relative time"] == "regression"


def test_another_machine_has_a_wider_limit():
    elsewhere = replace(speed(1.3, seed=1), environment={"device": "CPU B"})
    assert verdicts([speed()], [elsewhere])["relative time"] == "same"
    assert verdicts([speed()], [speed(1.3, seed=1)])["relative time"] == "regression"


def test_a_drop_of_a_tenth_of_a_point_is_caught():
    assert verdicts([accuracy(0.374)], [accuracy(0.373)])["box_ap"] == "regression"
    assert verdicts([accuracy(0.374)], [accuracy(0.373)], accuracy=0.002)["box_ap"] == "same"
    assert verdicts([accuracy(0.374)], [accuracy(0.380)])["box_ap"] == "improved"
    more = [replace(accuracy(0.374), metrics={"miss_rate": share}) for share in (0.4, 0.5)]
    assert verdicts(more[:1], more[1:])["miss_rate"] == "regression"


def test_parameters_must_be_exactly_the_same():
    other = replace(speed(seed=1), metrics={"parameters": 999, "flops": 5000})
    assert verdicts([speed()], [other])["parameters"] == "changed"


def test_a_missing_record_fails():
    assert verdicts([speed()], []) == {"status": "missing"}


def test_a_missing_metric_fails():
    assert verdicts([accuracy(0.3)], [replace(accuracy(0.3), metrics={})])["box_ap"] == "missing"


def test_records_without_calibration_do_not_pass_for_measured_ones():
    bare = replace(speed(seed=1), samples={"latency_s": [0.1] * 20})
    assert verdicts([speed()], [bare])["relative time"] == "missing"


def with_cpu_times(record: Record, factor: float = 1.0, seed: int = 0) -> Record:
    """The record of a run with one thread, whose wall clock says little: its neighbors come and go."""
    rng = np.random.default_rng(seed)
    wall = {name: [value * rng.uniform(1, 3) for value in record.samples[name]] for name in ("latency_s", SAMPLES)}
    cpu = {"cpu_s": list(0.1 * factor * rng.normal(1, 0.02, 200)), CPU_SAMPLES: list(0.02 * rng.normal(1, 0.02, 200))}
    return replace(record, samples=wall | cpu)


def test_the_time_of_one_thread_is_its_own_not_the_wall_clocks():
    before = with_cpu_times(speed())
    for factor, verdict in ((1.0, "same"), (1.15, "regression"), (0.85, "improved")):
        assert verdicts([before], [with_cpu_times(speed(load=3.0), factor, seed=1)])["relative time"] == verdict


def test_times_of_different_clocks_are_not_compared():
    (finding,) = [
        f
        for f in regression.check(baseline.make([with_cpu_times(speed())]), [speed(seed=1)])
        if f.quantity == "relative time"
    ]
    assert finding.fails and "as many threads as then" in finding.detail


def test_a_run_that_failed_after_a_good_one_fails():
    broken = failed("net", "inference", "out of memory", time="2026-02-01T00:00:00")
    assert verdicts([speed()], [speed(seed=1), broken]) == {"status": "failed"}


def test_a_good_run_after_a_failed_one_counts():
    broken = failed("net", "inference", "out of memory", time="2025-02-01T00:00:00")
    assert "failed" not in verdicts([speed()], [broken, speed(seed=1)]).values()


def test_a_baseline_survives_its_file(tmp_path):
    made = baseline.make([speed(), accuracy(0.3)], Tolerances(accuracy=0.5))
    baseline.write(made, tmp_path / "baseline.json")
    assert baseline.read(tmp_path / "baseline.json") == made
    assert len((tmp_path / "baseline.json").read_text().splitlines()) < 60  # a list of numbers is one line


def test_the_commands_write_check_and_exit(tmp_path, capsys):
    store = tmp_path / "results.db"
    Store(store).append(accuracy(0.374))
    file, junit, summary = (str(tmp_path / name) for name in ("baseline.json", "junit.xml", "summary.md"))
    assert main.main(["baseline", file, "--results", str(store)]) == 0
    assert main.main(["check", file, "--results", str(store)]) == 0
    Store(store).append(accuracy(0.3, time="2999-01-01T00:00:00"))
    capsys.readouterr()
    options = ["--junit", junit, "--summary", summary, "--json"]
    assert main.main(["check", file, "--results", str(store), *options]) == 1
    assert json.loads(capsys.readouterr().out)["passed"] is False
    assert ElementTree.parse(junit).getroot().get("failures") == "1"
    assert "regression" in (tmp_path / "summary.md").read_text()


def test_a_check_right_after_the_baseline_says_that_there_is_no_later_record(tmp_path, capsys):
    store, file = Store(tmp_path / "r.db"), str(tmp_path / "baseline.json")
    store.append(accuracy(0.4, time="2026-01-01T00:00:00"))
    store.append(Record("yolox_s", "log", "mmdetection", time="2026-01-01T00:00:01"))  # of which no baseline knows
    main.main(["baseline", file, "--results", str(store.path)])
    main.main(["check", file, "--results", str(store.path)])
    assert "no record is later than the baseline" in capsys.readouterr().err
    store.append(accuracy(0.4, time="2026-01-02T00:00:00"))
    main.main(["check", file, "--results", str(store.path)])
    assert "no record is later" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    [
        None,
        "{",
        "{}",
        '{"schema": 99, "entries": [], "tolerances": {}}',
        '{"schema": 1, "entries": [], "tolerances": {}}',
    ],
)
def test_a_file_that_is_no_baseline_is_one_sentence(tmp_path, capsys, text):
    file = tmp_path / "baseline.json"
    if text is not None:
        file.write_text(text)
    assert main.main(["check", str(file)]) == 2
    assert capsys.readouterr().err.startswith(f"bench: {file}")


def test_nothing_to_make_a_baseline_of_is_misuse(tmp_path, capsys):
    assert main.main(["baseline", str(tmp_path / "b.json"), "--results", str(tmp_path / "none.db")]) == 2
    assert not (tmp_path / "b.json").exists()


def test_a_summary_fits_on_github_and_says_what_is_left_out():
    result = [regression.Finding("net", f"metric {i}", "same", detail="x" * 200) for i in range(5000)]
    text = output.summary([*result, regression.Finding("net", "ap", "regression")])
    assert len(text.encode()) < markdown.SUMMARY_BYTES
    assert "3001 more rows" in text and "regression" in text


def test_a_baseline_without_times_is_for_every_machine():
    made = baseline.make([speed()], times=False)
    elsewhere = replace(speed(3.0, seed=1), environment={"device": "CPU B"})
    assert {f.quantity: f.verdict for f in regression.check(made, [elsewhere])} == {
        "parameters": "same",
        "flops": "same",
    }


def test_what_cannot_be_compared_makes_no_baseline():
    bare = replace(speed(), metrics={"fps": 3.0}, samples={})
    assert baseline.make([bare, replace(bare, kind="log")]).entries == []


def found(*rows: tuple[float, ...]) -> Record:
    """A record whose detections are rows of image, label, score, x1, y1, x2, y2."""
    samples = {fingerprint.SAMPLES: [float(v) for row in rows for v in row]}
    return Record("net", "inference", "mmdet-v2", {"batch": 1}, samples=samples, environment=HOST)


CAT, DOG = (0, 3, 0.9, 10, 10, 50, 50), (0, 7, 0.4, 20, 20, 90, 90)


@pytest.mark.parametrize(
    ("rows", "verdict", "detail"),
    [
        ([CAT, DOG], "same", "within 0.001"),
        ([(0, 3, 0.9004, 10.2, 10, 50, 50), DOG], "same", "within"),
        ([(0, 3, 0.91, 10, 10, 50, 50), DOG], "changed", "score moved by 0.01"),
        ([(0, 3, 0.9, 12, 10, 50, 50), DOG], "changed", "box moved by 2 pixels"),
        ([CAT], "changed", "1 lost, 0 added"),
        ([CAT, DOG, (0, 1, 0.8, 0, 0, 5, 5)], "changed", "0 lost, 1 added"),
        ([CAT, (0, 8, *DOG[2:])], "changed", "1 lost, 1 added"),
        ([], "changed", "2 lost"),
    ],
)
def test_detections_are_compared_one_by_one(rows, verdict, detail):
    (finding,) = regression.check(baseline.make([found(CAT, DOG)]), [found(*rows)])
    assert finding.verdict == verdict and detail in finding.detail


def test_a_full_list_of_detections_may_end_between_equals():
    full = [(0, 1, 0.5 - i / 1000, 20 * i, 0, 20 * i + 10, 10) for i in range(fingerprint.KEPT)]
    other = [*full[:-1], (0, 2, full[-1][2], 0, 300, 10, 310)]
    (finding,) = regression.check(baseline.make([found(*full)]), [found(*other)])
    assert finding.verdict == "same"


def test_a_record_without_detections_does_not_pass_for_one_with():
    bare = replace(found(CAT), samples={})
    (finding,) = regression.check(baseline.make([found(CAT)]), [bare])
    assert finding.verdict == "missing" and finding.fails


def test_the_table_starts_with_what_failed():
    result = regression.check(baseline.make([accuracy(0.3), speed()]), [accuracy(0.2)])
    assert "missing" in output.table(result).splitlines()[2] or "regression" in output.table(result).splitlines()[2]
