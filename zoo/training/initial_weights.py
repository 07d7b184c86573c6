"""Where training starts: a published detector, a published backbone, a file, or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from zoo.checkpoint import load_into, read
from zoo.checkpoint.convert.rename import adapt, fresh_names
from zoo.errors import MismatchedCheckpoint
from zoo.loading import build
from zoo.models.build import parameters
from zoo.models.component_table import find, kind_of
from zoo.models.detectors.base import Detector
from zoo.models.detectors.soft_teacher import SoftTeacher

CLASSES = ("num_classes", "num_things_classes")


def with_classes(description: Mapping[str, Any], before: int, count: int) -> dict[str, Any]:
    """The description for `count` classes: every number of classes that is `before` (those of other things stay)."""

    def changed(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {k: count if k in CLASSES and v == before else changed(v) for k, v in weighted(value).items()}
        return [changed(item) for item in value] if isinstance(value, list) else value

    def weighted(part: Mapping[str, Any]) -> Mapping[str, Any]:
        """A part whose loss lists a weight per class, of which the background's is the last."""
        loss = part.get("loss_cls")
        weights = loss.get("class_weight") if isinstance(loss, Mapping) else None
        if (
            not isinstance(weights, list)
            or len(weights) <= before
            or not any(part.get(key) == before for key in CLASSES)
        ):
            return part
        return {**part, "loss_cls": {**loss, "class_weight": weights[:1] * count + weights[before:]}}  # type: ignore[dict-item]

    result: dict[str, Any] = changed(description)
    return result


def unfrozen(description: Mapping[str, Any]) -> dict[str, Any]:
    """The description for a backbone that starts from random numbers, of which nothing can be kept as it is."""
    if "detector" in description:  # a student and its teacher
        return {**description, "detector": unfrozen(description["detector"])}
    changes = {"frozen_stages": -1, "norm_eval": False}
    backbone = dict(description["backbone"])
    accepted = parameters(find(kind_of(backbone)))
    backbone |= {key: value for key, value in changes.items() if key in accepted}
    if isinstance(norm := backbone.get("norm_cfg"), Mapping) and "requires_grad" in norm:
        backbone["norm_cfg"] = {**norm, "requires_grad": True}
    return {**description, "backbone": backbone}


def from_detector(network: Detector, path: Path, description: Mapping[str, Any]) -> list[str]:
    """Take a checkpoint of `description` over, except tensors whose shape depends on the classes.

    Returns the names of those. Raises MismatchedCheckpoint for a checkpoint of another architecture.
    """
    other = build(description)
    load_into(other, read(path), assign=True)
    return take(network, other.state_dict())


def take(network: nn.Module, state: Mapping[str, Tensor]) -> list[str]:
    """Copy the tensors whose shapes fit; names of the others."""
    own = network.state_dict()
    fitting = {name: value for name, value in state.items() if value.shape == own[name].shape}
    network.load_state_dict(fitting, strict=False)
    return sorted(own.keys() - fitting.keys())


def from_backbone(network: Detector, path: Path) -> None:
    """Load a backbone's weights: names as in the network, with or without `backbone.` before them, or its authors'.

    What belongs to a classifier only is left out, and what authors' files lack (the norms of feature maps) stays as it
    is. Raises MismatchedCheckpoint where the backbone is not covered.
    """
    backbone: Any = (network.student if isinstance(network, SoftTeacher) else network).backbone
    own = {f"backbone.{name}": tensor for name, tensor in backbone.state_dict().items()}
    shapes = {name: tuple(tensor.shape) for name, tensor in own.items()}
    stated = {f"backbone.{name.removeprefix('backbone.')}": value for name, value in read(path).state_dict.items()}
    fresh = fresh_names(stated)
    result, _ = adapt(stated, shapes)
    missing = [name for name in own if name not in result and not any(each.fullmatch(name) for each in fresh)]
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    wrong = [name for name in own if name in result and tuple(result[name].shape) != shapes[name]]
    if missing or wrong:
        raise MismatchedCheckpoint(
            f"{path} is not a checkpoint of this backbone: {len(missing)} tensors are missing and {len(wrong)} have "
            f"another shape, the first is {(missing + wrong)[0].removeprefix('backbone.')}."
        )
    backbone.load_state_dict({name.removeprefix("backbone."): result.get(name, own[name]) for name in own})
