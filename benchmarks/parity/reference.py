"""Recorded results of the reference, as they ship with the package."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

FOLDER = Path(__file__).parent / "records"
SUFFIX = ".json.gz"
# Names that only training needs; a network may leave them out.
TRAINING_ONLY = re.compile(r"\.loss_\w+\.|^teacher_")


@dataclass(frozen=True)
class Reference:
    """One architecture's recorded run.

    source: what computed it. detector: the reference's class. input: height, width, seed, normalize, valid (h, w).
    gains: for `formula.fill`. state: [name, shape] of the state dict. trace: module -> per output shape, standard
    deviation and samples. result: `detections` [label, score, x1, y1, x2, y2] in input coordinates, `masks` as RLE,
    `proposals` [score, x1, y1, x2, y2] for RPN, `panoptic`.
    """

    name: str
    config: str
    source: str
    detector: str
    input: Mapping[str, Any]
    gains: list[tuple[str, float]]
    state: list[tuple[str, list[int]]]
    trace: Mapping[str, list[dict[str, Any]]]
    result: Mapping[str, Any]

    @property
    def family(self) -> str:
        """The reference's configuration folder."""
        return self.config.split("/")[1]

    @property
    def size(self) -> tuple[int, int]:
        """(h, w) of the image inside the padded input."""
        height, width = self.input.get("valid") or (self.input["height"], self.input["width"])
        return int(height), int(width)

    @cached_property
    def images(self) -> Tensor:
        """The network's input (1, 3, H, W), normalized, zero outside the image."""
        import numpy as np
        import torch

        from benchmarks.parity import formula

        image = formula.image(self.input["height"], self.input["width"], self.input["seed"]).astype(np.float32)
        if normalize := self.input["normalize"]:
            image = image if normalize.get("to_rgb", True) else image[..., ::-1]
            image = (image - np.float32(normalize["mean"])) / np.float32(normalize["std"])
        images = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]
        images[:, :, self.size[0] :] = 0
        images[:, :, :, self.size[1] :] = 0
        return images

    @property
    def proposals(self) -> list[Tensor] | None:
        """The boxes that Fast R-CNN classifies; None for detectors that find their own."""
        if self.detector != "FastRCNN":
            return None
        from benchmarks.parity import formula

        return [formula.proposals(self.input["height"], self.input["width"])]

    def state_differences(self, model: nn.Module) -> list[str]:
        """Published names and shapes that `model` does not have, and the other way round, as sentences."""
        ours = {name: list(value.shape) for name, value in model.state_dict().items()}
        theirs = dict(self.state)
        missing = [n for n in theirs if n not in ours and not TRAINING_ONLY.search(n)]
        shapes = [n for n in theirs if n in ours and ours[n] != theirs[n]]
        return [
            *(f"{name} {theirs[name]} is missing" for name in missing),
            *(f"{name} is {ours[name]} instead of {theirs[name]}" for name in shapes),
            *(f"{name} {ours[name]} is not in the reference" for name in ours if name not in theirs),
        ]


def names(folder: Path = FOLDER) -> list[str]:
    """Architectures that have a record."""
    return sorted(path.name.removesuffix(SUFFIX) for path in folder.glob(f"*{SUFFIX}"))


def read(name: str, folder: Path = FOLDER) -> Reference:
    """The record of an architecture, or of the architecture of a model. Raises UsageError when there is none."""
    path = folder / (name + SUFFIX)
    if not path.exists():
        from zoo.manifest.api import architecture_name

        path = folder / (architecture_name(name) + SUFFIX)
    if not path.exists():
        raise UsageError(f"No recorded result for {name}. `bench parity --list` shows what there is.")
    with gzip.open(path, "rt") as file:
        return Reference(**json.load(file))


def of_family(family: str, folder: Path = FOLDER) -> list[str]:
    """Architectures of a configuration folder of the reference that have a record. UsageError when there is none."""
    result = [name for name in names(folder) if read(name, folder).family == family]
    if not result:
        raise UsageError(f"No recorded result of family '{family}'. `bench parity --list` shows what there is.")
    return result
