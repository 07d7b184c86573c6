"""Reports begin with what is quoted, and say what a reader must know before quoting it."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.reports import comparison, measured, summary
from benchmarks.reports.caveats import caveats
from benchmarks.results.record import Record, failed

HOST = {"device": "AMD EPYC", "host": {"usable_cores": 8}}
QUIET: dict[str, Any] = {"environment": HOST, "conditions": {"before": {"load_1min": 1.0}}}
MODEL = "detectron2/faster_rcnn_R_50_FPN_1x"


def compared(peer: str | None, fps: float, **metrics: Any) -> Record:
    numbers = {"fps": fps, "latency_ms_p50": 1000 / fps, "matched": 1.0, "detections": 300, "score_difference": 0.0}
    parameters = {"peer": peer, "remark": None if "speedup" in metrics else "not the same work: 0.0% agree"}
    return Record(MODEL, "compare", "interleaved", parameters, numbers | {"samples": 40} | metrics, **QUIET)


OURS = compared(None, 4.0, speedup=1.0, speedup_low=1.0, speedup_high=1.0)


def test_the_summary_has_ours_first_and_the_ratio_from_the_same_run() -> None:
    theirs = compared("detectron2", 2.0, speedup=0.5, speedup_low=0.4, speedup_high=0.625)
    (row,) = summary.table([theirs, OURS]).rows
    assert (row["ours"], row["Detectron2"], row["ours / Detectron2"]) == (4.0, 2.0, 2.0)
    assert row["95% interval"] == "1.60 to 2.50" and row["remark"] == "one run"
    assert measured.tables([theirs, OURS])[0].title == "Summary"
    last = comparison.tables(comparison.read_facts(), [theirs, OURS])[-1]
    assert last.title == "Other implementations in the same run" and len(last.rows) == 2


def test_without_the_same_work_there_is_no_ratio_but_a_remark() -> None:
    (row,) = summary.table([OURS, compared("detectron2", 2.0)]).rows
    assert "ours / Detectron2" not in row and "not the same work" in str(row["remark"])
    (row,) = summary.table([OURS, failed(MODEL, "compare", "it crashed.", parameters={"peer": "detectron2"})]).rows
    assert row["ours"] == 4.0 and row["Detectron2"] is None and "it crashed." in str(row["remark"])


@pytest.mark.parametrize(
    ("samples", "repeat", "load", "said"),
    [
        (40, 3, 1.0, ""),
        (29, 3, 1.0, "only 29 samples"),
        (40, 1, 1.0, "one run"),
        (40, 3, 17.7, "busy machine (load 17.7 on 8 cores)"),
        (5, 1, 9.0, "only 5 samples, one run, busy machine (load 9.0 on 8 cores)"),
    ],
)
def test_few_samples_one_run_and_a_busy_machine_are_said(samples: int, repeat: int, load: float, said: str) -> None:
    record = Record(
        MODEL,
        "inference",
        parameters={"repeat": repeat},
        metrics={"samples": samples},
        environment=HOST,
        conditions={"before": {"load_1min": load}},
    )
    assert caveats(record) == said


@pytest.mark.parametrize(
    ("others", "said"), [(0.01, "one run"), (0.12, "one run, other processes took 12% of the cores")]
)
def test_a_measured_share_of_others_decides_rather_than_the_load_that_it_began_with(others: float, said: str) -> None:
    conditions = {"before": {"load_1min": 17.7}, "others": others}
    assert caveats(Record(MODEL, "inference", environment=HOST, conditions=conditions)) == said


def test_an_options_fps_and_its_speedup_are_from_the_same_run() -> None:
    effect = {"fps": 6.0, "plain_fps": 5.0, "speedup": 1.2, "speedup_low": 1.1, "speedup_high": 1.3, "samples": 40}
    effect |= {"detections": 10, "matched": 1.0, "score_difference": 0.0, "added": 0}
    parameters = {"options": {"fuse_conv_bn": True}}
    plain = Record(MODEL, "inference", "interleaved", {}, {"fps": 4.0}, **QUIET)
    option = Record(MODEL, "inference", "interleaved", parameters, {"fps": 3.0, "effects": {"fuse": effect}}, **QUIET)
    tables = {table.title: table for table in measured.tables([plain, option])}
    assert [row["fps"] for row in tables["Inference"].rows] == [4.0]  # not 3.0, which another run measured
    assert [(row["plain fps"], row["fps"], row["speed-up"]) for row in tables["Options"].rows] == [(5.0, 6.0, 1.2)]
