"""Sweeps on a cluster: a real local one, and the loss of a worker."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from benchmarks.results.record import Record
from benchmarks.results.store import Store
from benchmarks.sweep import executors, job, sweep
from benchmarks.sweep.job import Job, Limits
from zoo.errors import UsageError, ZooError

LIMITS = Limits(seconds=60)


def run(r: Job, limits: Limits) -> Record:
    """Runs in a worker: 'lost' takes its worker with it."""
    if r.model == "lost":
        os._exit(1)
    return job.mark(Record(r.model, r.kind, metrics={"worker": os.getpid()}), r)


def wait_or_tell(r: Job, limits: Limits) -> Record:
    """Runs in a worker: 'long' tells on which node it is, and waits there until that is lost."""
    import ray

    node, marker = ray.get_runtime_context().get_node_id(), Path(r.options[0])
    if r.model == "long" and not marker.exists():
        marker.write_text(node)
        time.sleep(120)
    return job.mark(Record(r.model, r.kind, metrics={"node": node}), r)


@pytest.fixture(scope="module")
def cluster():
    """A head without processors and two nodes, each a process of its own with one."""
    ray = pytest.importorskip("ray", reason="ray is not installed")
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    made.workers = [made.add_node(num_cpus=1) for _ in range(2)]
    environment = {"env_vars": {"PYTHONPATH": str(Path(__file__).parents[3])}}
    ray.init(address=made.address, log_to_driver=False, runtime_env=environment)
    yield made
    ray.shutdown()
    made.shutdown()


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


def test_rows_that_no_node_could_ever_run_are_refused(cluster):
    with pytest.raises(UsageError, match="no node of the Ray cluster has 1 GPUs"):
        list(executors.ray(gpus=1, runner=run)(sweep.plan("accuracy", ["a"], []), LIMITS))


def test_an_address_without_a_cluster_is_one_sentence():
    pytest.importorskip("ray", reason="ray is not installed")
    with pytest.raises(ZooError, match=r"no Ray cluster answers at 127\.0\.0\.1:1:"):
        list(executors.ray(address="127.0.0.1:1", runner=run)(sweep.plan("accuracy", ["a"], []), LIMITS))


def test_a_row_whose_node_is_lost_runs_again_on_the_other_one(cluster, tmp_path):
    marker = tmp_path / "node"

    def lose() -> None:
        while not (marker.exists() and marker.read_text()):
            time.sleep(0.1)
        lost = next(node for node in cluster.workers if node.node_id == marker.read_text())
        cluster.remove_node(lost, allow_graceful=False)

    store, rows = Store(tmp_path / "r.db"), sweep.plan("accuracy", ["a", "long", "b"], [str(marker)])
    threading.Thread(target=lose, daemon=True).start()
    executor = executors.ray(cluster.address, runner=wait_or_tell)
    ended = {r.model: record for r, record in sweep.run(rows, store, executor, LIMITS)}
    assert [ended[model].status for model in ("a", "long", "b")] == ["ok"] * 3
    assert ended["long"].metrics["node"] != marker.read_text()


def test_submitit_gives_every_row_and_a_lost_job_costs_one(tmp_path, monkeypatch):
    pytest.importorskip("submitit", reason="submitit is not installed")
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "__init__.py").write_text("raise ImportError('a package of the user's own')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))  # for `run` above
    store, rows = Store(tmp_path / "r.db"), sweep.plan("accuracy", ["a", "lost", "b"], [])
    ended = dict(sweep.run(rows, store, executors.slurm(tmp_path / "logs", runner=run), LIMITS))
    assert {r.model: record.status for r, record in ended.items()} == {"a": "ok", "lost": "failed", "b": "ok"}
    assert "the job was lost" in next(r for r in store.select() if r.model == "lost").reason


def test_an_executor_that_is_not_installed_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "submitit", None)
    with pytest.raises(UsageError, match="submitit"):
        executors.slurm(Path("logs"))
