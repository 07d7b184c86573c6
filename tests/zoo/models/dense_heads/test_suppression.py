"""Suppression rules of single heads against obvious loops."""

from __future__ import annotations

import pytest
import torch
from torchvision.ops import box_iou

from zoo.models.dense_heads.paa import vote
from zoo.models.dense_heads.selection import Level, best_of_classes, by_classes, detect
from zoo.models.dense_heads.yolact import fast_nms
from zoo.structures import Detections


def scene(count: int = 50, classes: int = 4):
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(count, 2, generator=generator) * 50
    boxes = torch.cat([corner, corner + 5 + torch.rand(count, 2, generator=generator) * 40], dim=1)
    return boxes, torch.rand(count, classes, generator=generator)


def test_every_class_keeps_its_best_candidates():
    scores, labels = torch.tensor([0.1, 0.9, 0.5, 0.7, 0.3]), torch.tensor([1, 0, 0, 1, 0])
    assert sorted(best_of_classes(scores, labels, 2, 3).tolist()) == [0, 1, 2, 3]
    assert sorted(best_of_classes(scores, labels, 1, 3).tolist()) == [1, 3]
    assert best_of_classes(scores[:0], labels[:0], 2, 3).tolist() == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_classes_come_in_order_each_from_its_best_score_down(dtype: torch.dtype) -> None:
    """Also where scores are equal, negative, infinite or zero: of equal ones, the first come first."""
    torch.manual_seed(0)
    scores, labels = torch.randn(5000).round(decimals=1).to(dtype), torch.randint(7, (5000,))
    scores[:4] = torch.tensor([float("inf"), -float("inf"), 0.0, 65504.0])
    expected = sorted(range(5000), key=lambda i: (labels[i], -scores[i], i))
    assert by_classes(scores, labels).tolist() == expected


def test_fast_nms_drops_what_any_better_box_of_the_class_overlaps():
    boxes, scores = scene()
    expected = []
    for label in range(scores.shape[1]):
        order = scores[:, label].argsort(descending=True)[:20].tolist()
        for rank, i in enumerate(order):
            better = boxes[order[:rank]]
            overlapped = rank > 0 and box_iou(boxes[i : i + 1], better).max() > 0.5
            if not overlapped and scores[i, label] > 0.3:
                expected.append((scores[i, label].item(), label, i))
    result, index = fast_nms(boxes, scores, score_thr=0.3, iou_thr=0.5, top_k=20, max_num=15)
    assert len(expected) > 15
    assert (
        list(zip(result.scores.tolist(), result.labels.tolist(), index.tolist())) == sorted(expected, reverse=True)[:15]
    )
    torch.testing.assert_close(result.boxes, boxes[index])


def test_fast_nms_of_nothing_above_the_threshold_is_empty():
    boxes, scores = scene()
    result, index = fast_nms(boxes, scores, score_thr=2.0, iou_thr=0.5, top_k=20)
    assert len(result) == len(index) == 0


def test_a_voted_box_is_the_weighted_mean_of_the_candidates_around_it():
    boxes, scores = scene()
    labels = scores.argmax(dim=1)[:10]
    detections = Detections(boxes[:10], scores[torch.arange(10), labels], labels)
    voted = vote(detections, boxes, scores, score_thr=0.2)
    for box, label, result in zip(detections.boxes, detections.labels.tolist(), voted.boxes):
        total, weight = torch.zeros(4), 0.0
        for candidate, score in zip(boxes, scores[:, label].tolist()):
            iou = box_iou(box[None], candidate[None]).item()
            if score > 0.2 and iou > 0.01:
                w = torch.tensor(-((1 - iou) ** 2) / 0.025).exp().item() * score
                total, weight = total + w * candidate, weight + w
        torch.testing.assert_close(result, total / weight, rtol=1e-4, atol=1e-3)
    assert (voted.labels == detections.labels).all()


def test_boxes_without_extent_are_left_out_where_the_description_is_of_version_3() -> None:
    """MMDetection 2.x lets them take part in NMS, 3.x does not."""
    flat = Level(torch.tensor([[0.9], [0.8]]), torch.zeros(2, 4), torch.tensor([[5.0, 5, 5, 9], [0, 0, 4, 4]]))
    cfg = {"score_thr": 0.1, "nms": {"type": "nms", "iou_threshold": 0.5}, "max_per_img": 10, "min_bbox_size": 0}
    scores = [detect([flat], lambda priors, _: priors, cfg | more).scores.tolist() for more in ({}, {"min_side": 0})]
    assert scores == [pytest.approx([0.9, 0.8]), pytest.approx([0.8])]
