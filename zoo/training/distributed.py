"""Several processes under torchrun (DistributedDataParallel), or just one."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

from zoo.settings import process
from zoo.system.device import usable_device

SYNCHRONIZED = ("SyncBN", "MMSyncBN", "NaiveSyncBN")
# Rank 0 validates while the others wait, longer than NCCL's own ten minutes; a dead process is noticed by torchrun.
PATIENCE = timedelta(days=1)


class Rank(NamedTuple):
    """This process among `world`; device: its own."""

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        """True on rank 0, which logs and saves."""
        return self.rank == 0


def join(device: str = "cpu") -> Rank:
    """Join the processes that torchrun started; without it, stay alone. A GPU is taken by local rank.

    Raises UsageError for a device that is not there.
    """
    rank, world, local = process()
    chosen = usable_device(f"cuda:{local or 0}" if device == "cuda" else device)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    if world > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=PATIENCE)
    return Rank(rank, world, chosen)


@contextmanager
def joined(device: str = "cpu") -> Iterator[Rank]:
    """This process among those that torchrun started, for the time of the block.

    After an error this process does not wait for the others, which may wait for it: it should end, and torchrun ends
    them. Raises UsageError for a device that is not there.
    """
    yield join(device)
    leave()


def leave() -> None:
    """Part from the other processes, if there are any."""
    if dist.is_initialized():
        dist.destroy_process_group()


class Losses(nn.Module):
    """A network whose forward computes its losses, which is what DistributedDataParallel must see."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *arguments: Any) -> dict[str, Tensor]:
        """`network.losses` of the same arguments."""
        losses: dict[str, Tensor] = self.network.losses(*arguments)  # type: ignore[operator]
        return losses


def spread(network: nn.Module, rank: Rank) -> nn.Module:
    """The network's losses, with gradients averaged over all processes where there are several."""
    losses = Losses(network)
    if rank.world == 1:
        return losses
    ids = [rank.device.index] if rank.device.type == "cuda" else None
    # A batch without objects leaves a head unused; the reference's own runs cannot have that, a user's data can.
    return nn.parallel.DistributedDataParallel(losses, device_ids=ids, find_unused_parameters=True)


def synchronize_norms(network: nn.Module, description: Mapping[str, Any], rank: Rank) -> None:
    """Make batch norm share its statistics in the parts whose description says SyncBN; in place."""
    if rank.world == 1:
        return
    parts = [name for name, part in description.items() if isinstance(part, Mapping) and says_synchronized(part)]
    if parts and rank.device.type != "cuda":
        print("zoo: SyncBN needs GPUs; each process keeps statistics of its own.", file=sys.stderr)
        return
    for name in parts:
        own = "student" if name == "detector" else name  # whose teacher only infers
        setattr(network, own, nn.SyncBatchNorm.convert_sync_batchnorm(getattr(network, own)))


def says_synchronized(part: Any) -> bool:
    """Whether any norm in a description is a synchronized one."""
    if isinstance(part, Mapping):
        return part.get("type") in SYNCHRONIZED or any(says_synchronized(value) for value in part.values())
    return isinstance(part, list) and any(says_synchronized(value) for value in part)


def gathered(value: Any, rank: Rank) -> list[Any]:
    """The value of every process, on each."""
    if rank.world == 1:
        return [value]
    values: list[Any] = [None] * rank.world
    dist.all_gather_object(values, value)
    return values
