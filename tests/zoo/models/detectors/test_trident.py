from __future__ import annotations

from typing import Any

import pytest
import torch

from zoo.models.build import build_detector

NMS = {"type": "nms", "iou_threshold": 0.5}
CODER = {"type": "DeltaXYWHBBoxCoder", "target_means": [0, 0, 0, 0], "target_stds": [0.1, 0.1, 0.2, 0.2]}
ASSIGNER = {"type": "MaxIoUAssigner", "pos_iou_thr": 0.5, "neg_iou_thr": 0.5, "min_pos_iou": 0.3}
SAMPLER = {"type": "RandomSampler", "num": 64, "pos_fraction": 0.5}


def describe(test_branch_idx: int) -> dict[str, Any]:
    branches = {"num_branch": 3, "test_branch_idx": test_branch_idx}
    backbone = {
        "type": "TridentResNet",
        "depth": 50,
        "base_channels": 8,
        "num_stages": 3,
        "strides": [1, 2, 2],
        "dilations": [1, 1, 1],
        "out_indices": [2],
        "trident_dilations": [1, 2, 3],
        **branches,
    }
    anchors = {"type": "AnchorGenerator", "scales": [2, 4], "ratios": [1.0], "strides": [16]}
    rpn = {"type": "RPNHead", "in_channels": 128, "feat_channels": 16, "anchor_generator": anchors, "bbox_coder": CODER}
    box_loss = {"loss_bbox": {"type": "L1Loss"}}
    layer = {"type": "RoIAlign", "output_size": 7, "sampling_ratio": 0}
    extractor = {"type": "SingleRoIExtractor", "roi_layer": layer, "out_channels": 128, "featmap_strides": [16]}
    head = {"type": "BBoxHead", "with_avg_pool": True, "roi_feat_size": 7, "in_channels": 128, "num_classes": 3}
    roi_head = {
        "type": "TridentRoIHead",
        "bbox_roi_extractor": extractor,
        "bbox_head": {**head, **box_loss, "bbox_coder": CODER, "loss_cls": {"type": "CrossEntropyLoss"}},
        **branches,
    }
    proposals = {"nms_pre": 100, "max_per_img": 50, "nms": NMS, "min_bbox_size": 0}
    return {
        "type": "TridentFasterRCNN",
        "backbone": backbone,
        "rpn_head": {**rpn, **box_loss, "loss_cls": {"type": "CrossEntropyLoss", "use_sigmoid": True}},
        "roi_head": roi_head,
        "train_cfg": {
            "rpn": {"assigner": ASSIGNER, "sampler": {**SAMPLER, "add_gt_as_proposals": False}, "allowed_border": -1},
            "rpn_proposal": proposals,
            "rcnn": {"assigner": ASSIGNER, "sampler": SAMPLER},
        },
        "test_cfg": {"rpn": proposals, "rcnn": {"score_thr": 0.05, "nms": NMS, "max_per_img": 10}},
    }


@pytest.mark.parametrize("test_branch_idx", [1, -1])
@torch.no_grad()
def test_each_image_gets_its_own_detections_whatever_the_branches(test_branch_idx):
    torch.manual_seed(0)
    model, x = build_detector(describe(test_branch_idx)), torch.randn(2, 3, 96, 128)
    together, alone = model(x), [model(x[i : i + 1])[0] for i in (0, 1)]
    assert len(together) == 2 and all(0 < len(result) <= 10 for result in together)
    for have, want in zip(together, alone):
        assert torch.allclose(have.scores, want.scores, atol=1e-5) and torch.allclose(have.boxes, want.boxes, atol=1e-2)


def test_it_learns_on_all_branches():
    model, x = build_detector(describe(1)).train(), torch.randn(2, 3, 96, 128)
    target = {"boxes": torch.tensor([[10.0, 10, 60, 60]]), "labels": torch.tensor([1])}
    losses = model.losses(x, [(96, 128)] * 2, [target] * 2)
    assert losses and all(torch.isfinite(value).all() for value in losses.values())
