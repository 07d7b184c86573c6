"""Checkpoint -> network, strictly: every name and every shape, or an error that says why not."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from zoo.checkpoint.checkpoint import Checkpoint
from zoo.checkpoint.convert.diagnosis import differences, explain
from zoo.checkpoint.convert.rename import adapt
from zoo.errors import MismatchedCheckpoint
from zoo.text import printable


def load_into(model: nn.Module, checkpoint: Checkpoint, *, assign: bool = False) -> list[str]:
    """Load a checkpoint into a network, renaming what older versions and other frameworks call differently.

    assign: let the network keep the checkpoint's tensors instead of copying their values, which is faster and takes
    half the memory; the checkpoint must not be used for another network then. Element types become the network's.
    Returns the titles of the rename tables that were needed. Raises MismatchedCheckpoint.
    """
    own = model.state_dict()
    shapes = {name: tuple(tensor.shape) for name, tensor in own.items()}
    state, used = adapt(checkpoint.state_dict, shapes, checkpoint.meta)
    result = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if any(differences(result, shapes)):
        where = f"{checkpoint.path} does" if checkpoint.path else "the checkpoint does"
        reason = printable(explain(result, shapes, class_count(checkpoint.meta)), limit=2000)
        raise MismatchedCheckpoint(f"{where} not fit the network: {reason}")
    model.load_state_dict(like(state, own) if assign else state, strict=True, assign=assign)
    return used


def like(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with the element type and device of the network's own."""
    return {name: tensor.to(own[name].device, own[name].dtype) for name, tensor in state.items()}


def class_count(meta: Mapping[str, object]) -> int | None:
    """How many classes the metadata lists."""
    facts = meta.get("dataset_meta")
    classes = facts.get("classes", facts.get("CLASSES")) if isinstance(facts, dict) else meta.get("CLASSES")
    return len(classes) if isinstance(classes, (list, tuple)) else None
