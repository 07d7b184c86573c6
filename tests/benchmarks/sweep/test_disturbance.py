"""Timed jobs beside other work are void, and the longest jobs start first."""

from __future__ import annotations

import pytest

from benchmarks.cli import main
from benchmarks.cli.commands import sweep as command
from benchmarks.results.record import Record
from benchmarks.results.store import Store
from benchmarks.sweep import cost, job, sweep
from benchmarks.sweep.disturbance import reason
from benchmarks.sweep.job import Job, Limits
from benchmarks.system.other_work import Load
from zoo.errors import UsageError

QUIET, TIMED = Load(0.0), Job("s", "inference", "yolox_s_8x8_300e_coco")


def record(**after: object) -> Record:
    """A record with clocks."""
    conditions = {"before": {"cpu_mhz": 3000.0}, "after": {"cpu_mhz": 2950.0, **after}}
    return Record(TIMED.model, "inference", metrics={"fps": 1.0}, conditions=conditions)


def test_a_quiet_machine_leaves_a_record_as_it_is() -> None:
    assert reason(record(), QUIET) is None and reason(record(), Load(None)) is None


def test_work_of_others_and_falling_clocks_make_it_void() -> None:
    assert reason(record(), Load(0.2)) == "other processes took 20% of the cores"
    assert reason(record(cpu_mhz=2000.0), QUIET) == "the clock fell from 3000 to 2000 MHz"
    slowed = record(sm_mhz=1500, throttle_reasons=["sw_power_cap", "hw_thermal_slowdown"])
    assert reason(slowed, QUIET) == "the GPU was slowed down: hw_thermal_slowdown"


def test_a_void_job_runs_again_and_is_failed_only_when_no_attempt_was_quiet(monkeypatch) -> None:
    loads = iter([Load(0.5), Load(0.01)])
    made = []

    class Observed:
        def __enter__(self) -> Load:
            return next(loads)

        def __exit__(self, *args: object) -> None:
            pass

    monkeypatch.setattr(job, "observed", Observed)
    monkeypatch.setattr(job, "once", lambda *args: made.append(1) or record())
    assert job.run(TIMED, Limits()).ok and len(made) == 2
    loads = iter([Load(0.5)] * 3)
    failed = job.run(TIMED, Limits())
    assert failed.reason == "void 3 times: other processes took 50% of the cores" and not failed.ok


def test_untimed_jobs_may_share_the_machine(monkeypatch) -> None:
    monkeypatch.setattr(job, "once", lambda *args: Record("m", "accuracy", metrics={"box_ap": 0.1}))
    monkeypatch.setattr(job.disturbance, "reason", lambda *args: pytest.fail("not a timed job"))
    assert job.run(Job("s", "accuracy", "m"), Limits()).ok


def test_the_longest_jobs_start_first(tmp_path) -> None:
    store, names = Store(tmp_path / "r.db"), ["yolox_s_8x8_300e_coco", "yolox_tiny_8x8_300e_coco"]
    lvis = "mask_rcnn_r50_fpn_sample1e-3_mstrain_1x_lvis_v1"
    for name, fps in zip(names, (5.0, 1.0)):
        store.append(Record(name, "inference", parameters={"batch": 1}, metrics={"fps": fps}))
    assert [row.model for row in cost.longest_first(sweep.plan("inference", names, []), store)] == names[::-1]
    ordered = cost.longest_first(sweep.plan("accuracy", [names[0], lvis], []), Store(tmp_path / "none.db"))
    assert ordered[0].model == lvis  # four times as many images


def test_shards_are_all_rows_once_and_a_wrong_one_is_one_sentence(capsys) -> None:
    rows = sweep.plan("accuracy", [f"m{i}" for i in range(7)], [])
    dealt = [row for i in range(3) for row in command.shard(rows, f"{i}/3")]
    assert sorted(row.model for row in dealt) == [row.model for row in rows] and command.shard(rows, None) == rows
    for text in ("3/3", "a/2", "1", "-1/2"):
        with pytest.raises(UsageError, match="--shard takes I/N"):
            command.shard(rows, text)
    assert main.main(["sweep", "accuracy", "--all", "--shard", "9/9", "--dry-run"]) == 2
    assert "--shard takes I/N" in capsys.readouterr().err
