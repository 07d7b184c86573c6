"""Soft Teacher (Xu et al., End-to-End Semi-Supervised Object Detection, 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from zoo.errors import BuildError, NotTrainable
from zoo.models.build import component
from zoo.models.detectors.base import Detector
from zoo.models.targets import GroundTruth
from zoo.structures import Detections, ImageGeometry

ROLES = ("teacher", "student")
UNTRAINABLE = (
    "Soft Teacher learns from images with and without annotations together, which zoo does not support (inference "
    "only). Train the Faster R-CNN that it is made of, with its annotated images."
)


class SoftTeacher(Detector):
    """Two detectors of the same kind, one of which is the moving average of the other and detects.

    semi_test_cfg: `predict_on` says which one detects.
    """

    needs_unlabeled = True

    def __init__(
        self,
        detector: Mapping[str, Any],
        semi_train_cfg: Mapping[str, Any] | None = None,
        semi_test_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        nn.Module.__init__(self)  # it has no layers of its own
        self.student, self.teacher = component(detector), component(detector)
        self.predict_on = (semi_test_cfg or {}).get("predict_on", "teacher")
        if self.predict_on not in ROLES:
            raise BuildError(f"SoftTeacher predicts on {' or '.join(ROLES)}, not on '{self.predict_on}'")

    def predict(self, images: Tensor, geometries: Sequence[ImageGeometry], *args: Any) -> list[Detections]:
        """Detections in output coordinates."""
        detections: list[Detections] = getattr(self, self.predict_on).predict(images, geometries)
        return detections

    def compute_losses(
        self, images: Tensor, geometries: Sequence[ImageGeometry], ground_truths: Sequence[GroundTruth]
    ) -> dict[str, Tensor]:
        """Raises NotTrainable: the method needs images without annotations beside those with them."""
        raise NotTrainable(UNTRAINABLE)
