"""Detections from what a box head predicts."""

from __future__ import annotations

import pytest
import torch
from torchvision.ops import batched_nms

from zoo.models.roi_heads.bbox_head import BBoxHead
from zoo.structures import ImageGeometry

CFG = {"score_thr": 0.1, "nms": {"type": "nms", "iou_threshold": 0.5}, "max_per_img": 50}


@pytest.mark.parametrize("agnostic", [True, False])
@pytest.mark.parametrize("count", [0, 200])
def test_decoding_what_scores_high_finds_what_decoding_everything_finds(agnostic: bool, count: int) -> None:
    torch.manual_seed(0)
    head, geometry = (
        BBoxHead(num_classes=7, in_channels=2, reg_class_agnostic=agnostic),
        ImageGeometry.of_input((300, 400)),
    )
    corners = torch.rand(count, 2) * 250
    regions = torch.cat([corners, corners + 10 + torch.rand(count, 2) * 90], dim=1)
    logits, deltas = torch.randn(count, 8) * 2, torch.randn(count, 4 if agnostic else 28)
    detections = head.predict(regions, logits, deltas, geometry, CFG)

    boxes = head.boxes(regions, deltas, geometry).view(count, deltas.shape[1] // 4, 4).expand(-1, 7, -1)
    scores = logits.softmax(-1)[:, :-1]
    index, labels = (scores > CFG["score_thr"]).nonzero(as_tuple=True)
    boxes, scores = boxes[index, labels], scores[index, labels]
    keep = batched_nms(boxes, scores, labels, 0.5)[:50]
    assert len(detections) == (50 if count else 0)
    assert torch.equal(detections.boxes, boxes[keep]) and torch.equal(detections.scores, scores[keep])
    assert torch.equal(detections.labels, labels[keep])
