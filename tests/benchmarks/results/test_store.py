from __future__ import annotations

import json
import multiprocessing
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from benchmarks.results import sqlite
from benchmarks.results.record import failed, skipped
from benchmarks.results.store import Record, ResultsError, Store, read_lines, write_lines


def record(model: str = "retinanet_r50_fpn_1x_coco", **values) -> Record:
    return Record(**{"model": model, "kind": "inference", "protocol": "mmdet-v2", "metrics": {"fps": 19.0}} | values)


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "results.db")


def test_a_record_comes_back_as_it_was(store):
    given = record(
        parameters={"batch": 1},
        samples={"latency_s": [0.1, 0.1 + 1e-17, 1 / 3]},
        environment={"gpu": "V100"},
        conditions={"load": 0.5},
        checkpoint="c2398f9e" * 8,
        manifest="1",
    )
    store.append(given)
    assert store.select() == [given]
    assert store.get(given.id[:8]) == given


def test_a_failed_record_has_a_reason_and_no_numbers(store):
    store.append(failed("yolox_s", "inference", RuntimeError("out of\n memory")))
    store.append(skipped("yolox_l", "inference", "no weights"))
    first, second = store.select()
    assert (first.status, first.reason, first.metrics) == ("failed", "RuntimeError: out of memory", {})
    assert (second.status, second.reason) == ("skipped", "no weights")
    for wrong in ({"status": "failed"}, {"reason": "why"}, {"status": "failed", "reason": "why"}, {"status": "great"}):
        with pytest.raises(ResultsError):
            record(**wrong)


def test_numbers_of_other_libraries_and_nan_become_plain_json(store):
    store.append(record(metrics={"a": np.float32(1.5), "b": float("nan"), "c": np.arange(2), "d": (1, 2)}))
    assert store.select()[0].metrics == {"a": 1.5, "b": None, "c": [0, 1], "d": [1, 2]}


def test_selection_by_name_glob_kind_status_and_time(store):
    store.append(record("a_r50", time="2026-01-01T00:00:00.000+00:00"))
    store.append(record("a_r101", time="2026-01-02T00:00:00.000+00:00"))
    store.append(record("b_r50", kind="accuracy", time="2026-01-03T00:00:00.000+00:00"))

    def names(**conditions):
        return [r.model for r in store.select(**conditions)]

    assert names(model="a_*") == ["a_r50", "a_r101"]
    assert names(model="a_r50") == ["a_r50"]
    assert names(kind="accuracy") == ["b_r50"]
    assert names(since="2026-01-02") == ["a_r101", "b_r50"]
    assert names(limit=1) == ["b_r50"]
    assert names(status="failed") == []
    with pytest.raises(TypeError, match="color"):
        store.select(color="red")


def test_latest_keeps_one_record_per_model_protocol_and_parameters(store):
    for day, (batch, fps) in enumerate([(1, 10), (1, 11), (2, 15)], 1):
        store.append(record(parameters={"batch": batch}, metrics={"fps": fps}, time=f"2026-01-0{day}"))
    assert [r.metrics["fps"] for r in store.select(latest=True)] == [11, 15]


def test_an_environment_is_stored_once(store):
    store.extend(record(environment={"gpu": "V100"}) for _ in range(10))
    with sqlite3.connect(store.path) as connection:
        assert connection.execute("SELECT count(*) FROM environments").fetchone() == (1,)


def test_a_missing_store_is_empty_and_is_not_created_by_reading(store):
    assert store.select() == [] and store.count() == 0
    assert not store.path.exists()


def test_a_file_of_another_kind_is_one_sentence(tmp_path):
    path = tmp_path / "results.db"
    path.write_text("this is not a database, " * 100)
    with pytest.raises(ResultsError, match=r"results\.db cannot be used as a result store"):
        Store(path).append(record())
    with pytest.raises(ResultsError, match="cannot be used"):
        Store(tmp_path / "nowhere" / "results.db").append(record())


def test_a_store_of_a_newer_version_is_left_alone(store):
    store.append(record())
    with sqlite3.connect(store.path) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(ResultsError, match="newer version"):
        store.select()


def test_an_older_store_is_upgraded_with_its_records(store, monkeypatch):
    given = store.append(record())
    script = "ALTER TABLE records ADD COLUMN note TEXT"
    monkeypatch.setattr(sqlite, "UPGRADES", [*sqlite.UPGRADES, script])
    assert store.select() == [given]
    with sqlite3.connect(store.path) as connection:
        assert connection.execute("SELECT note FROM records").fetchone() == (None,)


def test_a_store_of_the_first_version_is_upgraded_and_finds_its_sweeps(store, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(sqlite, "UPGRADES", sqlite.UPGRADES[:1])
        store.extend([record("a", parameters={"sweep": "s"}), record("b")])
    assert [r.model for r in store.select(sweep="s")] == ["a"]
    with sqlite3.connect(store.path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(sqlite.UPGRADES),)
        sql = "EXPLAIN QUERY PLAN SELECT * FROM records WHERE json_extract(parameters, '$.sweep') = 's'"
        assert "records_by_sweep" in str(connection.execute(sql).fetchall())


def test_an_older_store_is_merged_and_a_merge_keeps_what_is_there(store, tmp_path, monkeypatch):
    other = Store(tmp_path / "other.db")
    with monkeypatch.context() as patch:
        patch.setattr(sqlite, "UPGRADES", sqlite.UPGRADES[:1])
        other.extend([record("a", environment={"gpu": "V100"}, samples={"latency_s": [0.1]}), record("b")])
    mine = store.append(record("c", environment={"gpu": "V100"}))
    assert store.merge(other.path) == 2
    assert store.merge(other.path) == 0
    assert sorted(store.select(), key=lambda r: r.model) == [*other.select(), mine]


def append_many(path, worker):
    for i in range(40):
        Store(path).append(record(f"worker{worker}_{i}"))


def test_no_record_is_lost_when_four_processes_append_to_a_new_store(store):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=append_many, args=(store.path, n)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert len({r.model for r in store.select()}) == 160


def test_a_new_store_that_all_create_at_once_is_locked_for_none(tmp_path):
    for turn in range(30):
        together = threading.Barrier(8)

        def append(worker, path=tmp_path / f"{turn}.db", together=together):
            together.wait()
            return Store(path).append(record(f"worker{worker}"))

        with ThreadPoolExecutor(8) as pool:
            assert len(list(pool.map(append, range(8)))) == 8


def test_extend_writes_all_or_nothing(store):
    def broken():
        yield record()
        raise ValueError("half way")

    with pytest.raises(ValueError):
        store.extend(broken())
    assert store.count() == 0


def test_export_and_merge_carry_everything_and_merge_twice_adds_nothing(store, tmp_path):
    store.extend([record("a", samples={"latency_s": [0.25]}), record("b")])
    path = tmp_path / "out.jsonl"
    assert write_lines(store.stream(), path) == 2
    assert list(read_lines(path)) == store.select()
    other = Store(tmp_path / "other.db")
    assert (other.merge(path), other.merge(store.path)) == (2, 0)
    assert other.select() == store.select()
    path.write_text(json.dumps({"model": "a"}) + "\n")
    with pytest.raises(ResultsError, match=r"out\.jsonl:1: not a result record"):
        other.merge(path)


def test_reading_one_model_out_of_many_records_is_quick(store):
    store.extend(record(f"model{i % 500}", samples={"latency_s": [0.1] * 10}) for i in range(20_000))
    start = time.perf_counter()
    assert len(store.select(model="model7", kind="inference")) == 40
    assert time.perf_counter() - start < 0.25
