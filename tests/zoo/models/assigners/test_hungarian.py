"""Matching sets of queries with sets of objects."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch

from zoo.errors import BuildError
from zoo.models.assigners.costs import CrossEntropyLossCost, DiceCost, FocalLossCost
from zoo.models.assigners.hungarian import HungarianAssigner, cheapest
from zoo.models.criteria.detr import written
from zoo.models.losses.dice import DiceLoss
from zoo.models.targets import GroundTruth

COSTS = {
    "cls_cost": {"type": "ClassificationCost", "weight": 1.0},
    "reg_cost": {"type": "BBoxL1Cost", "weight": 5.0, "box_format": "xywh"},
    "iou_cost": {"type": "IoUCost", "iou_mode": "giou", "weight": 2.0},
}


def test_the_assignment_is_the_cheapest_of_all() -> None:
    torch.manual_seed(0)
    logits, boxes = torch.randn(5, 4), torch.rand(5, 4) * 0.5 + 0.25
    ground_truth = GroundTruth(torch.tensor([[5.0, 5, 60, 40], [20, 30, 90, 70]]), torch.tensor([2, 0]))
    assigner = HungarianAssigner(**COSTS)
    pairs = cheapest([assigner.cost(logits, boxes, ground_truth, (80, 100))])[0]
    scale = torch.tensor([100.0, 80, 100, 80])

    def price(queries: tuple[int, ...]) -> float:
        total = 0.0
        for m, q in enumerate(queries):
            one = GroundTruth(ground_truth.boxes[m : m + 1], ground_truth.labels[m : m + 1])
            total += float(assigner.cls_cost(logits[q : q + 1], one.labels))
            total += float(assigner.reg_cost(boxes[q : q + 1], one.boxes / scale))
            xyxy = torch.cat([boxes[q, :2] - boxes[q, 2:] / 2, boxes[q, :2] + boxes[q, 2:] / 2])[None] * scale
            total += float(assigner.iou_cost(xyxy, one.boxes))
        return total

    best = min(permutations(range(5), 2), key=price)
    assert pairs.query.tolist() == sorted(best) and [best[m] for m in pairs.objects] == sorted(best)


def test_an_image_without_objects_has_no_pairs_and_leaves_those_of_others_alone() -> None:
    some = torch.tensor([[3.0, 1], [1, 9], [5, 5]])
    pairs = cheapest([torch.zeros(3, 0), some, torch.zeros(2, 0)])
    assert [(p.query.tolist(), p.objects.tolist()) for p in pairs] == [([], []), ([0, 1], [1, 0]), ([], [])]


def test_objects_get_several_queries_but_not_more_than_there_are() -> None:
    pairs = cheapest([torch.tensor([[0.0, 9], [0, 9], [9, 0], [9, 0], [9, 9]])] * 3, [1, 2, 7])
    assert [sorted(p.objects.tolist()) for p in pairs] == [[0, 1], [0, 0, 1, 1], [0, 0, 1, 1]]
    assert pairs[1].query.tolist() == [0, 1, 2, 3]


def test_mask_costs_are_the_losses_of_each_pair() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(3, 20), torch.rand(2, 20) > 0.5
    entropy, focal = CrossEntropyLossCost()(logits, target), FocalLossCost(binary_input=True)(logits, target)
    dice = DiceCost(pred_act=True, eps=1.0)(logits, target)
    for q in range(3):
        for m in range(2):
            y, p = target[m].float(), logits[q].sigmoid()
            bce = torch.nn.functional.binary_cross_entropy(p, y, reduction="none")
            torch.testing.assert_close(entropy[q, m], bce.mean())
            right, alpha = torch.where(target[m], p, 1 - p), torch.where(target[m], 0.25, 0.75)
            torch.testing.assert_close(focal[q, m], (alpha * (1 - right) ** 2 * bce).mean())
            loss = DiceLoss(naive_dice=True, eps=1.0)(logits[q : q + 1], target[m : m + 1])
            torch.testing.assert_close(dice[q, m], loss)


def test_class_weights_are_read_from_a_printed_tensor() -> None:
    assert written("tensor([1.0000, 1.0000,\n        0.1000])") == [1.0, 1.0, 0.1]
    with pytest.raises(BuildError, match="class_weight"):
        written("__import__('os')")
