"""Where the rows of a sweep run, apart from this machine: a Ray cluster, or Slurm through submitit. Both are extras."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import row as one
from benchmarks.record import Record, failed
from benchmarks.row import Limits, Row
from benchmarks.sweep import Executor, Runner
from zoo.errors import UsageError


def ray(
    address: str | None = None, gpus: float = 0, cpus: float = 1, retries: int = 1, runner: Runner = one.run
) -> Executor:
    """Rows on a Ray cluster, each where `gpus` and `cpus` are free; records come back here.

    address: of a running cluster ("auto" finds it), None starts one on this machine. retries: of a row whose worker
    died; then it is failed.
    """
    engine = extra("ray")

    def execute(rows: Sequence[Row], limits: Limits) -> Iterator[tuple[Row, Record]]:
        engine.init(address=address, ignore_reinit_error=True, log_to_driver=False, include_dashboard=False)
        task = engine.remote(num_gpus=gpus, num_cpus=cpus, max_retries=retries)(runner)
        waiting = {task.remote(row, limits): row for row in rows}
        while waiting:
            done, _ = engine.wait(list(waiting), num_returns=1)
            for reference in done:
                row = waiting.pop(reference)
                yield row, result(engine, reference, row)

    return execute


def result(engine: Any, reference: Any, row: Row) -> Record:
    """A row's record from the cluster; one that the cluster lost is failed."""
    try:
        return engine.get(reference)
    except engine.exceptions.RayError as error:
        lost = str(error).strip().splitlines()[0]
        return one.mark(failed(row.model, row.kind, f"the worker was lost: {lost}"), row)


def slurm(folder: Path, partition: str | None = None, gpus: int = 0, cpus: int = 1) -> Executor:
    """Rows as jobs of a Slurm array, through submitit. folder: shared, for its logs."""
    submitit = extra("submitit")

    def execute(rows: Sequence[Row], limits: Limits) -> Iterator[tuple[Row, Record]]:
        executor = submitit.AutoExecutor(folder=str(folder))
        options: dict[str, Any] = {"timeout_min": int(limits.seconds // 60) + 5, "cpus_per_task": cpus}
        if gpus:
            options["gpus_per_node"] = gpus
        if partition:
            options["slurm_partition"] = partition
        executor.update_parameters(**options)
        jobs = executor.map_array(one.run, list(rows), [limits] * len(rows))
        for row, job in zip(rows, jobs):
            yield row, job_result(submitit, job, row)

    return execute


def job_result(submitit: Any, job: Any, row: Row) -> Record:
    """A job's record; one that Slurm lost is failed."""
    try:
        return job.result()
    except (submitit.core.utils.UncompletedJobError, submitit.core.utils.FailedJobError) as error:
        return one.mark(failed(row.model, row.kind, f"the job was lost: {str(error).splitlines()[0]}"), row)


def extra(name: str) -> Any:
    """An optional library. Raises UsageError with the command that installs it."""
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError:
        raise UsageError(f"this executor needs {name}: pip install 'detection-zoo[{name}]'") from None
