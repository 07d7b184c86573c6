"""Where the jobs of a sweep run, apart from this machine: a Ray cluster, or Slurm through submitit. Both are extras."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.results.record import Record, failed
from benchmarks.sweep import job as one
from benchmarks.sweep.job import Job, Limits
from benchmarks.sweep.sweep import Executor, Runner, Steps
from zoo.errors import UsageError, ZooError

POLL_SECONDS = 2
# Jobs start as `python -m submitit...`: modules of the current folder are the user's own, and are not meant.
SAFE_PATH = ["export PYTHONSAFEPATH=1"]


def ray(
    address: str | None = None, gpus: float = 0, cpus: float = 1, retries: int = 1, runner: Runner = one.guarded
) -> Executor:
    """Jobs on a Ray cluster, each where `gpus` and `cpus` are free; records come back here.

    address: of a running cluster ("auto" finds it), None starts one on this machine. retries: of a job whose worker
    died; then it is failed. Raises UsageError where no node of the cluster could ever run a job.
    """
    api = extra("ray")

    def execute(jobs: Sequence[Job], limits: Limits) -> Steps:
        connect(api, address)
        require(api, gpus, cpus)
        task = api.remote(num_gpus=gpus, num_cpus=cpus, max_retries=retries)(runner)
        waiting = {task.remote(job, limits): job for job in jobs}
        while waiting:
            done, _ = api.wait(list(waiting), num_returns=1)
            for reference in done:
                job = waiting.pop(reference)
                yield job, result(api, reference, job)

    return execute


def connect(api: Any, address: str | None) -> None:
    """Join or start a cluster. Raises ZooError where there is none at the address."""
    options = {} if address else {"include_dashboard": False}
    host, _, port = (address or "").rpartition(":")
    try:
        if host and "/" not in host and port.isdigit():  # Ray itself waits for minutes for one that is not there
            socket.create_connection((host, int(port)), timeout=10).close()
        api.init(address=address, ignore_reinit_error=True, log_to_driver=False, **options)
    except (OSError, RuntimeError, ValueError) as error:
        said = " ".join(str(error).split())[:200]
        raise ZooError(f"no Ray cluster answers at {address or 'this machine'}: {said}") from error


def require(api: Any, gpus: float, cpus: float) -> None:
    """Raise UsageError if no node has so many GPUs and processors: Ray would wait for one for ever."""
    nodes = [node["Resources"] for node in api.nodes() if node["Alive"]]
    if not any(node.get("GPU", 0) >= gpus and node.get("CPU", 0) >= cpus for node in nodes):
        raise UsageError(f"no node of the Ray cluster has {gpus:g} GPUs and {cpus:g} processors for a job.")


def result(api: Any, reference: Any, job: Job) -> Record:
    """A job's record from the cluster; one that the cluster lost is failed."""
    try:
        return api.get(reference)
    except api.exceptions.RayError as error:
        lost = str(error).strip().splitlines()[0]
        return one.mark(failed(job.model, job.kind, f"the worker was lost: {lost}"), job)


def slurm(
    folder: Path, partition: str | None = None, gpus: int = 0, cpus: int = 1, runner: Runner = one.guarded
) -> Executor:
    """Jobs as a Slurm array, through submitit; as processes of this machine where there is no Slurm.

    folder: shared, for logs and results.
    """
    submitit = extra("submitit")

    def execute(jobs: Sequence[Job], limits: Limits) -> Steps:
        executor = submitit.AutoExecutor(folder=str(folder))
        options: dict[str, Any] = {"timeout_min": int(limits.seconds // 60) + 5, "cpus_per_task": cpus}
        options |= {"slurm_setup": SAFE_PATH, "local_setup": SAFE_PATH}
        if gpus:
            options["gpus_per_node"] = gpus
        if partition:
            options["slurm_partition"] = partition
        executor.update_parameters(**options)
        tasks = executor.map_array(runner, list(jobs), [limits] * len(jobs))
        jobs_of = {task.job_id: job for task, job in zip(tasks, jobs)}
        for task in submitit.helpers.as_completed(tasks, poll_frequency=POLL_SECONDS):
            yield jobs_of[task.job_id], slurm_result(submitit, task, jobs_of[task.job_id])

    return execute


def slurm_result(submitit: Any, task: Any, job: Job) -> Record:
    """A job's record; one that Slurm lost is failed."""
    try:
        return task.result()
    except (submitit.core.utils.UncompletedJobError, submitit.core.utils.FailedJobError) as error:
        return one.mark(failed(job.model, job.kind, f"the job was lost: {str(error).splitlines()[0]}"), job)


def extra(name: str) -> Any:
    """An optional library. Raises UsageError with the command that installs it."""
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError:
        raise UsageError(f"this executor needs {name}: pip install {name}") from None
