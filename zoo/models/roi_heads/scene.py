"""What regions see beside the pyramid, in Hybrid Task Cascade and SCNet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass
class Scene:
    """What the regions of a batch see.

    levels: of the pyramid, each (N, C, H, W). semantic: (N, C, H, W) or None. context: (N, C, 1, 1) or None.
    """

    levels: Sequence[Tensor]
    semantic: Tensor | None = None
    context: Tensor | None = None

    @classmethod
    def of(cls, features: Features) -> Scene:
        """A scene as it is, or one of the pyramid alone."""
        return features if isinstance(features, Scene) else cls(features)


Features = Sequence[Tensor] | Scene
"""The levels of a pyramid, each (N, C, H, W), or more than that."""
