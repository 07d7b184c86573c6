"""A network's names -> those of torchvision: each of its builders is tried, and the one that fits says the names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor
from torchvision.models import detection

from zoo.checkpoint.convert import reorder
from zoo.checkpoint.convert.rename import Shapes, adapt, anchors_per_cell, destination
from zoo.checkpoint.convert.tables import table
from zoo.errors import MismatchedCheckpoint

BUILDERS = (
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_resnet50_fpn_v2",
    "fasterrcnn_mobilenet_v3_large_fpn",
    "maskrcnn_resnet50_fpn",
    "maskrcnn_resnet50_fpn_v2",
    "keypointrcnn_resnet50_fpn",
    "retinanet_resnet50_fpn",
    "retinanet_resnet50_fpn_v2",
    "fcos_resnet50_fpn",
    "ssd300_vgg16",
    "ssdlite320_mobilenet_v3_large",
)
COCO_CLASSES, COCO_NUMBERS = 80, 91
TABLES = ("torchvision", "torchvision_ssdlite")


def to_torchvision(state: Mapping[str, Tensor], classes: int) -> tuple[str, dict[str, Tensor]]:
    """(builder, state dict) of torchvision's network with the same layers, in its order of classes.

    classes: of the network. With COCO's 80 the result is for torchvision's 91 numbers; those that no category has never
    win. Of builders whose networks have the same tensors, as those of MobileNetV3 for two sizes of images, the first is
    named. Raises MismatchedCheckpoint where no network of torchvision fits.
    """
    ours = {name: tuple(tensor.shape) for name, tensor in state.items()}
    numbers = COCO_NUMBERS if classes == COCO_CLASSES else classes + 1
    for builder in BUILDERS:
        for theirs in candidates(builder, numbers):
            if fits(theirs, ours):
                return builder, moved(state, theirs, ours)
    raise MismatchedCheckpoint("no network of torchvision has exactly these layers.")


def candidates(builder: str, numbers: int) -> Iterator[dict[str, Tensor]]:
    """The state dict of a builder's network, without memory."""
    with torch.device("meta"):
        network = getattr(detection, builder)(weights=None, weights_backbone=None, num_classes=numbers)
    yield network.state_dict()


def fits(theirs: Mapping[str, Tensor], ours: Shapes) -> bool:
    """Whether torchvision's names lead to exactly the network's."""
    adapted, _ = adapt(theirs, ours)
    return {name: tuple(tensor.shape) for name, tensor in adapted.items()} == dict(ours)


def moved(state: Mapping[str, Tensor], theirs: Mapping[str, Tensor], ours: Shapes) -> dict[str, Tensor]:
    """Every tensor of torchvision's network, from ours. Raises MismatchedCheckpoint for what it does not have."""
    rules = [rule for name in TABLES for rule in table(name).rules if table(name).concerns(theirs)]
    rules = [rule for rule in rules if rule.applies(theirs)]
    result, used = {}, set()
    for name, shaped in theirs.items():
        new, rule = destination(name, rules, ours, theirs)
        if new not in state:
            continue
        used.add(new)
        tensor = state[new]
        values = rule.values if rule is not None else None
        if values is not None:
            tensor = reorder.invert(values, tensor, tuple(shaped.shape), anchors_per_cell(new, ours))
        result[name] = tensor
    check_left(state, set(state) - used)
    return result


def check_left(state: Mapping[str, Tensor], left: set[str]) -> None:
    """Raise MismatchedCheckpoint for tensors without a counterpart, unless torchvision takes them for granted."""
    for name in sorted(left):
        if name.endswith("num_batches_tracked"):
            continue
        values = [value for known in TABLES for pattern, value in table(known).fill if pattern.fullmatch(name)]
        if not values or not (state[name] == values[0]).all():
            raise MismatchedCheckpoint(f"torchvision has no parameter for {name}.")
