"""Soft Teacher (Xu et al., End-to-End Semi-Supervised Object Detection, 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import BuildError, NotTrainable
from zoo.models.build import component
from zoo.models.criteria.soft_teacher import DEFAULTS, unlabeled_losses
from zoo.models.detectors.base import Detector
from zoo.models.targets import GroundTruth
from zoo.models.views import Unlabeled
from zoo.structures import Detections, ImageGeometry

ROLES = ("teacher", "student")
UNTRAINABLE = (
    "Soft Teacher learns from images with and without annotations together: pass the others as `unlabeled`, or use "
    "`zoo train --unlabeled`."
)


class SoftTeacher(Detector):
    """Two detectors of the same kind, one of which is the moving average of the other and detects.

    semi_train_cfg: thresholds of the teacher's boxes and weights of the losses (`DEFAULTS` of
    `zoo.models.criteria.soft_teacher`, `sup_weight`, `unsup_weight`). semi_test_cfg: `predict_on` says which one
    detects.
    """

    needs_unlabeled = True
    burning_in = False
    """Whether the student still learns from annotated images alone."""

    def __init__(
        self,
        detector: Mapping[str, Any],
        semi_train_cfg: Mapping[str, Any] | None = None,
        semi_test_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        nn.Module.__init__(self)  # it has no layers of its own
        self.student, self.teacher = component(detector), component(detector)
        self.teacher.requires_grad_(False)
        self.semi_train_cfg: dict[str, Any] = DEFAULTS | dict(semi_train_cfg or {})
        self.predict_on = (semi_test_cfg or {}).get("predict_on", "teacher")
        if self.predict_on not in ROLES:
            raise BuildError(f"SoftTeacher predicts on {' or '.join(ROLES)}, not on '{self.predict_on}'")

    def train(self, mode: bool = True) -> SoftTeacher:
        """Switch the student between training and inference; the teacher only ever infers."""
        super().train(mode)
        self.teacher.eval()
        return self

    def predict(self, images: Tensor, geometries: Sequence[ImageGeometry], *args: Any) -> list[Detections]:
        """Detections in output coordinates."""
        detections: list[Detections] = getattr(self, self.predict_on).predict(images, geometries)
        return detections

    def losses(
        self,
        images: Tensor,
        sizes: Sequence[tuple[int, int]],
        targets: Sequence[dict[str, Tensor]],
        proposals: Sequence[Tensor] | None = None,
        unlabeled: Unlabeled | None = None,
    ) -> dict[str, Tensor]:
        """The student's losses: `sup_*` of a batch with annotations, `unsup_*` of images that the teacher annotates.

        Args:
            images, sizes, targets, proposals: As `Detector.losses` takes them.
            unlabeled: Two views of images without annotations; None only while `burning_in`.

        Raises:
            NotTrainable: Without images that have no annotations.
        """
        if unlabeled is None and not self.burning_in:
            raise NotTrainable(UNTRAINABLE)
        losses = self.weighted("sup", self.student.losses(images, sizes, targets, proposals))
        if unlabeled is not None:
            own = unlabeled_losses(self.student, self.teacher, unlabeled, self.semi_train_cfg)
            losses |= self.weighted("unsup", own)
        return losses

    def weighted(self, part: str, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Losses by names of their part, `sup` or `unsup`, times its weight; numbers of other kinds as they are."""
        weight: float = self.semi_train_cfg.get(f"{part}_weight", 1.0)
        return {f"{part}_{name}": value * weight if "loss" in name else value for name, value in losses.items()}

    def compute_losses(
        self, images: Tensor, geometries: Sequence[ImageGeometry], ground_truths: Sequence[GroundTruth]
    ) -> dict[str, Tensor]:
        """Raises NotTrainable: the method needs images without annotations beside those with them."""
        raise NotTrainable(UNTRAINABLE)

    @torch.no_grad()
    def teach(self, momentum: float) -> None:
        """Move the teacher's weights towards the student's by this part of the way; with 1, take everything over."""
        if momentum == 1:
            self.teacher.load_state_dict(self.student.state_dict())
            return
        for own, new in zip(self.teacher.parameters(), self.student.parameters()):
            own.lerp_(new, momentum)
