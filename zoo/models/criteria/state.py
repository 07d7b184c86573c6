"""What training learns about itself on the way, beside the weights: moving averages, counters, the epoch."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from torch import Tensor, nn

from zoo.models.build import component
from zoo.models.criteria.protocols import LossHead
from zoo.models.losses.base import Loss

ATTRIBUTE = "training_memory"


def memory_of(module: object) -> dict[str, Any]:
    """A module's memory, of tensors and plain values, for its losses to read and write."""
    memory: dict[str, Any] = vars(module).setdefault(ATTRIBUTE, {})
    return memory


def loss_of(head: LossHead, key: str) -> Loss:
    """The loss that a head's `loss_cfg` describes under `key`; one with a memory finds its own again."""
    loss: Loss = component(head.loss_cfg[key], memory=memory_of(head).setdefault(key, {}))
    return loss


def loss_states(model: nn.Module) -> dict[str, dict[str, Any]]:
    """The memories of all modules by name, on the CPU, for a checkpoint that training goes on from."""
    result = {name: module.__dict__.get(ATTRIBUTE) for name, module in model.named_modules()}
    return {name: on_cpu(memory) for name, memory in result.items() if memory}


def on_cpu(value: Any) -> Any:
    """A copy with all tensors on the CPU: another process that received one of a GPU would open a context there."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: on_cpu(item) for key, item in value.items()}
    return deepcopy(value)


def load_loss_states(model: nn.Module, memories: Mapping[str, Mapping[str, Any]]) -> None:
    """Load what `loss_states` returned."""
    for name, memory in memories.items():
        memory_of(model.get_submodule(name)).update(deepcopy(memory))


def set_epoch(model: nn.Module, epoch: int) -> None:
    """Tell the modules whose losses change in the course of training (they have an `epoch`) how far it is."""
    for module in model.modules():
        if isinstance(getattr(module, "epoch", None), int):
            module.epoch = epoch  # type: ignore[assignment]
