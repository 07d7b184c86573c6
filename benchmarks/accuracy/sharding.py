"""Several processes, started by torchrun, evaluate one dataset together.

Batches are dealt out in turn, so nothing is padded or evaluated twice and each batch is the one that a single process
would have made. What was found is gathered by image id on rank 0.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType
from typing import Any, TypeVar

import torch.distributed as dist

from zoo.errors import ZooError
from zoo.settings import process

T = TypeVar("T")

# Ranks finish at different times, and a dead one is noticed at once by its closed connection.
PATIENCE = timedelta(days=2)


class WorkerDied(ZooError):
    """One of the processes of a run ended early; nothing was recorded."""


def world() -> tuple[int, int]:
    """(rank, number of processes), as torchrun says; (0, 1) without it."""
    return process()[:2]


@contextmanager
def process_group() -> Iterator[None]:
    """The processes connected to each other for the time of the block; nothing to do for a single one.

    Raises WorkerDied when another process ends before the block does.
    """
    if world()[1] == 1:
        yield
        return
    previous = signal.signal(signal.SIGTERM, stop)  # torchrun sends it to the others when one process dies
    try:
        with lost_connections():
            dist.init_process_group("gloo", timeout=PATIENCE)
        yield
        dist.destroy_process_group()
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextmanager
def lost_connections() -> Iterator[None]:
    """Gloo's errors, which have no class of their own, as WorkerDied."""
    try:
        yield
    except RuntimeError as error:
        raise died(str(error)) from error


def stop(_signal: int, _frame: FrameType | None) -> None:
    """The reaction to SIGTERM."""
    raise died("this process was told to stop")


def died(detail: str) -> WorkerDied:
    """The error for a run that lost a process."""
    rank, size = world()
    reason = " ".join(detail.split())[:200]
    return WorkerDied(f"rank {rank} of {size}: another process of this run has died ({reason}). Nothing was recorded.")


def own_device(device: str) -> str:
    """This process's part of `device`: "cuda" means one GPU for each process of a machine."""
    local = process().local_rank
    return f"cuda:{local}" if device == "cuda" and local is not None else device


def shard(items: Sequence[T]) -> list[T]:
    """This process's share of `items`: every n-th one."""
    rank, size = world()
    return list(items[rank::size])


def gather(mine: Mapping[Any, T], order: Sequence[Any]) -> dict[Any, T] | None:
    """Everybody's results by id, in the given order, on rank 0; None on the others."""
    rank, size = world()
    if size == 1:
        return {key: mine[key] for key in order}
    parts: list[Any] | None = [None] * size if rank == 0 else None
    with lost_connections():
        dist.gather_object(dict(mine), parts)
    if parts is None:
        return None
    merged = {key: value for part in parts for key, value in part.items()}
    return {key: merged[key] for key in order}
