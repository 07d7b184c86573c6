"""RTMDet, RTMDet-Ins and the 3.x instance segmentation networks beside what the recorded results show."""

from __future__ import annotations

import pytest
import torch

import zoo


@pytest.mark.parametrize("name", ["rtmdet-ins_tiny_8xb32-300e_coco", "condinst_r50_fpn_ms-poly-90k_coco_instance"])
def test_an_image_without_detections_has_no_masks(name):
    model = zoo.build(name)
    model.bbox_head.test_cfg = {**model.bbox_head.test_cfg, "score_thr": 1.0}
    result = model(torch.zeros(1, 3, 64, 96), [(60, 90)])[0]
    assert len(result) == 0 and result.masks.shape == (0, 60, 90)


def test_levels_share_convolutions_but_not_their_normalization():
    head = zoo.build("rtmdet_tiny_8xb32-300e_coco").bbox_head
    first, second = head.cls_convs[0][0], head.cls_convs[1][0]
    assert first.conv is second.conv and first.bn is not second.bn


def test_class_and_box_branch_of_rtmdet_ins_are_one_under_both_names():
    head = zoo.build("rtmdet-ins_tiny_8xb32-300e_coco").bbox_head
    assert head.reg_convs[0] is head.cls_convs[0]
    assert "reg_convs.0.0.conv.weight" in head.state_dict()
