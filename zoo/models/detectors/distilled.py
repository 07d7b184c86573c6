"""Detectors that learn from another one, and detect without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import torch
from torch import Tensor

from zoo.errors import UsageError
from zoo.models.criteria.table import dense_losses
from zoo.models.detectors.single_stage import SingleStageDetector
from zoo.models.layers.precision import full_precision
from zoo.models.targets import GroundTruth
from zoo.structures import ImageGeometry


class Distilled(SingleStageDetector):
    """Localization distillation (Zheng et al., 2021) and label assignment distillation (Nguyen et al., 2021).

    teacher_ckpt: address of the teacher's checkpoint, in a folder of its name; `teach` gives the teacher itself.
    """

    def __init__(
        self,
        backbone: Mapping[str, Any],
        bbox_head: Mapping[str, Any],
        neck: Mapping[str, Any] | None = None,
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
        teacher_ckpt: str | None = None,
    ) -> None:
        super().__init__(backbone, bbox_head, neck, train_cfg, test_cfg)
        self.teacher_name = PurePosixPath(teacher_ckpt).parent.name if teacher_ckpt else None
        self.teacher: Any
        # Not a part of the network: its weights are neither trained nor saved.
        self.__dict__["teacher"] = None

    def teach(self, teacher: Any) -> None:
        """Set the teacher: a trained single-stage detector with the same levels.

        Raises UsageError where the head needs the teacher's scores, and the teacher has other classes.
        """
        own, others = self.bbox_head.num_classes, teacher.bbox_head.num_classes
        if getattr(self.bbox_head, "shares_classes", False) and own != others:
            raise UsageError(
                f"The head takes its assignment from the teacher's scores, which are of {others} classes; this network "
                f"has {own}. Train a teacher for the same classes and pass it to model.teach, or train PAA instead."
            )
        self.__dict__["teacher"] = teacher.eval().requires_grad_(False)

    def compute_losses(
        self, images: Tensor, geometries: Sequence[ImageGeometry], ground_truths: Sequence[GroundTruth]
    ) -> dict[str, Tensor]:
        """The head's losses. Raises UsageError without a teacher."""
        if self.teacher is None:
            name = self.teacher_name or "the published teacher"
            raise UsageError(f"this network learns from another one: model.teach(zoo.load('{name}')) first")
        teacher = self.teacher.to(images.device)
        with torch.no_grad():
            advice = teacher.bbox_head(teacher.features(images))
        outputs = self.bbox_head(self.features(images))
        return dense_losses(
            self.bbox_head, outputs, geometries, ground_truths, teacher.bbox_head, full_precision(advice)
        )
