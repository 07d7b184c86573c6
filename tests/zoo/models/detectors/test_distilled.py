"""Detectors that learn from another one."""

from __future__ import annotations

import pytest

import zoo
from zoo.errors import UsageError
from zoo.manifest import api
from zoo.training.initial_weights import with_classes

LD, LAD = "ld_r18_gflv1_r101_fpn_coco_1x", "lad_r50_paa_r101_fpn_coco_1x"


def student(name: str, classes: int) -> zoo.models.detectors.base.Detector:
    return zoo.build(with_classes(api.architecture(name), 80, classes))


def test_lad_refuses_a_teacher_of_other_classes() -> None:
    with pytest.raises(UsageError, match="which are of 80 classes; this network has 3"):
        student(LAD, 3).teach(zoo.build("paa_r50_fpn_1x_coco"))


def test_ld_takes_only_boxes_from_its_teacher() -> None:
    learner = student(LD, 3)
    learner.teach(zoo.build("gfl_r50_fpn_mstrain_2x_coco"))
    assert learner.teacher is not None
