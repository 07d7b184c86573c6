"""What detectors ask of a head that proposes regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor

from zoo.models.criteria.table import Parametrized
from zoo.structures import Detections, ImageGeometry


class ProposalHead(Parametrized, Protocol):
    """A dense head whose detections are regions. test_cfg: how many, and their suppression."""

    test_cfg: Mapping[str, Any]

    def __call__(self, features: Sequence[Tensor], /) -> Sequence[Sequence[Tensor]]:
        """Class logits and box predictions, each per level, of a pyramid (N, C, H, W)."""
        ...

    def predict(
        self,
        outputs: Sequence[Sequence[Tensor]],
        geometries: Sequence[ImageGeometry],
        cfg: Mapping[str, Any] | None = None,
        /,
    ) -> list[Detections]:
        """Regions per image, in input coordinates. cfg: in place of `test_cfg`."""
        ...
