"""A network's weights as a file that another implementation reads: its names, its order of rows, its format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.checkpoint.convert.inverse import to_detectron2
from zoo.checkpoint.convert.to_torchvision import to_torchvision
from zoo.checkpoint.formats.written_pickle import write_detectron2
from zoo.errors import UsageError
from zoo.system.atomic_write import atomic_path

PEERS = {"detectron2": ".pkl", "mmdet": ".pth", "torchvision": ".pth"}
"""Who reads such files, and the suffix of the file."""


def write(
    state: Mapping[str, Tensor], peer: str, target: Path, backbone: str = "ResNet", classes: Sequence[str] = ()
) -> Path:
    """Write a state dict in the published names for `peer`; the file appears only when it is whole.

    backbone: type of the network's backbone. classes: names of the labels. Raises MismatchedCheckpoint for a network
    that the peer does not have, UsageError for another suffix than the peer's.
    """
    if peer not in PEERS:
        raise UsageError(f"no format '{peer}': there are {', '.join(PEERS)}.")
    if target.suffix != PEERS[peer]:
        raise UsageError(f"{target} must end in {PEERS[peer]}, which {peer} reads.")
    content = converted(state, peer, backbone, classes)
    with atomic_path(target) as temporary, temporary.open("wb") as file:
        write_detectron2(content, file) if peer == "detectron2" else torch.save(content, file)
    return target


def converted(state: Mapping[str, Tensor], peer: str, backbone: str, classes: Sequence[str]) -> dict[str, Any]:
    """What the file holds: MMDetection 2.x has our names, and its files carry metadata."""
    if peer == "detectron2":
        return to_detectron2(state, backbone)
    if peer == "torchvision":
        return to_torchvision(state, num_classes(state) or len(classes))[1]
    plain = {name: tensor.detach().clone() for name, tensor in state.items()}
    return {"meta": {"CLASSES": tuple(classes)} if classes else {}, "state_dict": plain}


def num_classes(state: Mapping[str, Tensor]) -> int | None:
    """How many classes a two-stage network's box head tells apart; None without one."""
    bias = state.get("roi_head.bbox_head.fc_cls.bias")
    return None if bias is None else len(bias) - 1
