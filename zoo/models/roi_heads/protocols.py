"""What heads on regions ask of their parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

from torch import Tensor

from zoo.structures import Detections, ImageGeometry

T = TypeVar("T")
BoxDeltas = Tensor | tuple[Tensor, Tensor] | None
"""What a box head regresses of M regions: deltas (M, 4 or 4 * num_classes), SABL's bucket logits and offsets, or None
where it only classifies."""
BoxOutputs = tuple[Tensor, BoxDeltas]
"""Class logits (M, num_classes + 1) and what is regressed."""


class Extractor(Protocol):
    """Pools features of regions. featmap_strides: pixels per cell and level."""

    featmap_strides: Sequence[int]

    def __call__(self, features: Sequence[Tensor], rois: Tensor, /, *, roi_scale_factor: float | None = None) -> Tensor:
        """(M, C, h, w) from features per level (N, C, H, W) and regions (M, 5): image index and xyxy.

        roi_scale_factor: enlarges the regions around their centers.
        """
        ...


class Shared(Protocol):
    """A stage in front of the box and mask heads."""

    def __call__(self, x: Tensor, /) -> Tensor:
        """Region features (M, C, h, w) to (M, C', h', w')."""
        ...


class ByClass(Protocol):
    """Regresses boxes. reg_class_agnostic: one box for all classes."""

    reg_class_agnostic: bool


class BoxHead(Protocol):
    """Classifies regions and regresses their boxes."""

    def __call__(self, *features: Tensor) -> BoxOutputs:
        """Class logits and box predictions from region features (M, C, h, w)."""
        ...

    def predict(
        self,
        regions: Tensor,
        logits: Tensor,
        deltas: BoxDeltas,
        geometry: ImageGeometry,
        cfg: Mapping[str, Any],
        /,
    ) -> Detections:
        """One image's detections, in input coordinates. regions: (M, 4) xyxy."""
        ...


class CascadeBoxHead(BoxHead, Protocol):
    """A box head whose boxes are the regions of another one."""

    def refine(
        self,
        regions: Tensor,
        logits: Tensor,
        deltas: BoxDeltas,
        geometry: ImageGeometry,
        labels: Tensor | None = None,
        /,
    ) -> Tensor:
        """The regions (M, 4) of the next stage. labels: (M,), those known in training."""
        ...


class MaskDecoder(Protocol):
    """Makes masks of the logits of regions."""

    def of_class(self, logits: Tensor, labels: Tensor, /) -> Tensor:
        """The logits (K, ...) of the given classes (K,), out of those of all classes."""
        ...

    def probabilities(self, logits: Tensor, labels: Tensor, /) -> Tensor:
        """The masks (K, h, w) of the given classes (K,)."""
        ...

    def paste(self, masks: Tensor, boxes: Tensor, geometry: ImageGeometry, cfg: Mapping[str, Any], /) -> Tensor:
        """Image masks (K, H, W) bool in output coordinates. boxes: (K, 4) xyxy in input coordinates."""
        ...


class MaskHead(MaskDecoder, Protocol):
    """Predicts masks of regions."""

    def __call__(self, x: Tensor, /) -> Tensor:
        """Mask logits (K, num_classes or 1, h, w) from region features."""
        ...


class KeypointHead(Protocol):
    """Predicts keypoints of regions."""

    def __call__(self, x: Tensor, /) -> Tensor:
        """Heatmaps of logits (K, P, S, S) from region features."""
        ...

    def decode(self, heatmaps: Tensor, boxes: Tensor, /) -> Tensor:
        """Keypoints (K, P, 3): x, y, score."""
        ...


def present(part: T | None) -> T:
    """A part that the caller knows to be there; the description may leave it out."""
    assert part is not None
    return part
