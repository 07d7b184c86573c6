"""Losses of detectors with object queries."""

from __future__ import annotations

import torch

from tests.zoo.models.query_heads.test_detr import tiny_deformable_detr, tiny_detr
from tests.zoo.models.query_heads.test_sparse_rcnn import FOCAL, tiny_queryinst

ASSIGNER = {
    "type": "HungarianAssigner",
    "cls_cost": {"type": "FocalLossCost", "weight": 2.0},
    "reg_cost": {"type": "BBoxL1Cost", "weight": 5.0, "box_format": "xywh"},
    "iou_cost": {"type": "IoUCost", "iou_mode": "giou", "weight": 2.0},
}
BOX = {"bbox": {"type": "L1Loss", "loss_weight": 5.0}, "iou": {"type": "GIoULoss", "loss_weight": 2.0}}
SIZES = [(96, 128), (96, 100)]
TARGETS = [
    {"boxes": torch.tensor([[4.0, 8, 60, 70], [30, 20, 90, 90]]), "labels": torch.tensor([2, 0])},
    {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long)},
]
NAMES = ["loss_cls", "loss_bbox", "loss_iou"]


def test_every_decoder_layer_and_the_proposals_learn() -> None:
    model = tiny_deformable_detr(with_box_refine=True, as_two_stage=True).train()
    model.bbox_head.train_cfg, model.bbox_head.loss_cfg = {"assigner": ASSIGNER}, {"cls": FOCAL, **BOX}
    losses = model.losses(torch.rand(2, 3, 96, 128), SIZES, TARGETS)
    assert losses.keys() == {prefix + name for prefix in ("", "d0.", "enc_") for name in NAMES}
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.bbox_head.parameters())


def test_a_query_that_is_right_costs_less_than_one_that_is_wrong() -> None:
    model = tiny_detr().train()
    model.bbox_head.train_cfg = {"assigner": {**ASSIGNER, "cls_cost": {"type": "ClassificationCost"}}}
    model.bbox_head.loss_cfg.update(BOX)
    before = model.losses(torch.zeros(2, 3, 96, 128), SIZES, TARGETS)
    optimizer = torch.optim.SGD(model.bbox_head.parameters(), lr=1e-3)
    for _ in range(3):
        optimizer.zero_grad()
        losses = model.losses(torch.zeros(2, 3, 96, 128), SIZES, TARGETS)
        sum(losses.values()).backward()
        optimizer.step()
    assert sum(losses.values()) < sum(before.values())


def test_every_stage_of_queryinst_learns() -> None:
    model = tiny_queryinst(FOCAL).train()
    head = model.roi_head
    head.train_cfg = [{"assigner": ASSIGNER, "pos_weight": 1, "mask_size": 12}] * 2
    head.stage_loss_weights = (1.0, 0.5)
    for box, mask in zip(head.bbox_head, head.mask_head):
        box.loss_cfg = {"cls": FOCAL, **BOX}
        mask.loss_cfg = {"mask": {"type": "DiceLoss", "activate": False, "loss_weight": 8.0}}
    masks = torch.zeros(2, 96, 128, dtype=torch.bool)
    masks[:, 20:60, 30:50] = True
    targets = [{**TARGETS[0], "masks": masks}, {**TARGETS[1], "masks": masks[:0]}]
    losses = model.losses(torch.rand(2, 3, 96, 128), SIZES, targets)
    assert losses.keys() == {f"stage{i}_{name}" for i in range(2) for name in [*NAMES, "loss_mask"]}
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


def test_levels_without_regions_have_gradients_too() -> None:
    model = tiny_queryinst(FOCAL).train()
    extractor = model.roi_head.bbox_roi_extractor[0]
    features = [torch.rand(1, 16, 16, 16, requires_grad=True), torch.rand(1, 16, 8, 8, requires_grad=True)]
    extractor(features, torch.tensor([[0.0, 4, 4, 20, 20]])).sum().backward()
    assert features[0].grad is not None and features[0].grad.any()
    assert features[1].grad is not None and not features[1].grad.any()
