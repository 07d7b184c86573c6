"""Sweeps on a cluster: a real local one, and the loss of a worker."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks import executors, row, sweep
from benchmarks.record import Record
from benchmarks.results import Store
from benchmarks.row import Limits, Row
from zoo.errors import UsageError

LIMITS = Limits(seconds=60)


def run(r: Row, limits: Limits) -> Record:
    """Runs in a worker: 'lost' takes its worker with it."""
    if r.model == "lost":
        os._exit(1)
    return row.mark(Record(r.model, r.kind, metrics={"worker": os.getpid()}), r)


@pytest.fixture(scope="module")
def cluster():
    ray = pytest.importorskip("ray", reason="ray is not installed")
    environment = {"env_vars": {"PYTHONPATH": str(Path(__file__).parents[2])}}
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env=environment)
    yield
    ray.shutdown()


def test_a_ray_cluster_gives_every_row_and_the_loss_of_a_worker_costs_one(cluster, tmp_path):
    store, rows = Store(tmp_path / "r.db"), sweep.plan("accuracy", ["a", "lost", "b", "c"], [])
    ended = dict(sweep.run(rows, store, executors.ray(retries=0, runner=run), LIMITS))
    assert {r.model: record.status for r, record in ended.items()} == {
        "a": "ok",
        "lost": "failed",
        "b": "ok",
        "c": "ok",
    }
    assert "worker was lost" in next(r for r in store.select() if r.model == "lost").reason
    assert sweep.progress(rows, store).pending(retry_failed=False) == []


def test_an_executor_that_is_not_installed_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "submitit", None)
    with pytest.raises(UsageError, match="submitit"):
        executors.slurm(Path("logs"))
