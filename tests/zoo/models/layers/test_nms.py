"""Suppression within groups."""

from __future__ import annotations

import pytest
import torch
from torchvision.ops import nms

from zoo.models.layers import nms as module
from zoo.models.layers.cpu_choices import LONG_LIST as LONG
from zoo.models.layers.nms import APART_FROM, batched_nms, suppress
from zoo.models.layers.ranking import best
from zoo.models.layers.survivors import FIRST

CFG = {"type": "nms", "iou_threshold": 0.5}


def scene(count: int, groups: int = 4):
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(count, 2, generator=generator) * 100
    boxes = torch.cat([corner, corner + 5 + torch.rand(count, 2, generator=generator) * 30], dim=1)
    scores = (torch.randperm(count, generator=generator) + 1) / (count + 1)  # no two are equal
    return boxes, scores, torch.randint(groups, (count,), generator=generator)


@pytest.mark.parametrize("count", [50, FIRST + 904])
@pytest.mark.parametrize("limit", [-1, 20, 10_000])
def test_groups_do_not_suppress_each_other(count, limit):
    boxes, scores, groups = scene(count)
    expected = []
    for group in range(4):
        members = (groups == group).nonzero()[:, 0]
        expected += members[nms(boxes[members], scores[members], 0.5)].tolist()
    expected.sort(key=lambda i: -scores[i].item())
    keep, kept = batched_nms(boxes, scores, groups, CFG, limit)
    assert keep.tolist() == (expected if limit < 0 else expected[:limit])
    torch.testing.assert_close(kept, scores[keep])


def test_a_limit_that_the_best_boxes_do_not_reach_looks_at_all():
    """Thousands of copies of one box, and a worse one elsewhere."""
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0]]).repeat(FIRST + 10, 1)
    boxes[-1] += 50
    scores = torch.linspace(1, 0.1, len(boxes))
    keep, _ = batched_nms(boxes, scores, torch.zeros(len(boxes), dtype=torch.long), CFG, 5)
    assert keep.tolist() == [0, len(boxes) - 1]


@pytest.mark.parametrize("count", [APART_FROM - 1, APART_FROM])
def test_many_classes_are_compared_as_in_the_reference(count):
    """Moved by class in float32; class by class from 10,000 boxes on, where other classes' boxes cannot interfere."""
    pair = [[0, 0, 10, 10], [0, 0, 10, 5.01]]  # overlap by 0.501; by 0.5 when rounded to eighths
    outside = [[1335, 1335, 1340, 1340], [-10, -10, -5, -5]]  # class 1 moves by 1345, which puts it onto class 0
    filler = [[500, 500, 1344, 1344]] * (count - 4)
    boxes = torch.tensor([*pair, *outside, *filler], dtype=torch.float32)
    groups = torch.tensor([1200, 1200, 0, 1, *[2] * (count - 4)])
    keep, _ = batched_nms(boxes, torch.linspace(1, 0.1, count), groups, CFG)
    assert keep.tolist() == ([0, 1, 2, 3, 4] if count >= APART_FROM else [0, 1, 2, 4])


def test_without_suppression_boxes_are_ranked_and_limited():
    boxes, scores, groups = scene(30)
    detections = suppress(boxes, scores, groups, None, 10)
    torch.testing.assert_close(detections.scores, scores.sort(descending=True).values[:10])


@pytest.mark.parametrize(("shift", "apart"), [(0, True), (-3, True), (-20, True), (-100, False)])
@pytest.mark.parametrize("groups", [5, 80])
@pytest.mark.parametrize("limit", [-1, 300])
def test_going_group_by_group_changes_nothing(groups, shift, apart, limit, monkeypatch):
    boxes, scores, labels = scene(module.GROUPED_NMS_FROM, groups)
    boxes = boxes + shift
    assert module.never_meet(boxes, module.separate(boxes, labels), labels, 0.5) is apart
    have = batched_nms(boxes, scores, labels, CFG, limit)
    order = scores.argsort(descending=True)
    want = order[nms(module.separate(boxes, labels)[order], scores[order], 0.5)][: limit if limit > 0 else None]
    assert have[0].tolist() == want.tolist() and torch.equal(have[1], scores[want])


@pytest.mark.parametrize("threshold", [0.05, 0.3, 0.65])
def test_boxes_that_may_reach_into_another_group_are_compared_with_it(threshold, monkeypatch):
    """Wherever the groups are said not to meet, moving them ten times as far apart changes nothing."""
    monkeypatch.setattr(module, "GROUPED_NMS_FROM", 1)
    said = []
    for seed in range(400):
        generator = torch.Generator().manual_seed(seed)
        corners = torch.rand(40, 2, generator=generator) * 20 - 14 * torch.rand(1, generator=generator)
        boxes = torch.cat([corners, corners + 1 + torch.rand(40, 2, generator=generator) * 12], dim=1)
        groups, scores = torch.randint(3, (40,), generator=generator), torch.linspace(1, 0.1, 40)
        far = boxes + groups[:, None] * 10 * (boxes.max() + 100)
        same = nms(module.separate(boxes, groups), scores, threshold).tolist() == nms(far, scores, threshold).tolist()
        said.append(module.never_meet(boxes, module.separate(boxes, groups), groups, threshold))
        assert same or not said[-1]
    assert True in said and False in said


@pytest.mark.parametrize("values", [2, 1000, 10**9])
@pytest.mark.parametrize("count", [1, 100])
def test_the_best_of_a_long_list_are_those_of_a_sorted_one(values, count):
    """With many, some or no equal scores, of which the first ones count."""
    scores = torch.randint(values, (LONG,), generator=torch.Generator().manual_seed(0)).double()
    assert torch.equal(best(scores, count), scores.sort(descending=True, stable=True).indices[:count])
    scores[[7, 900]] = torch.nan
    assert torch.equal(best(scores, count), scores.sort(descending=True, stable=True).indices[:count])


def test_the_best_of_a_short_list_come_in_the_order_of_the_plain_sort():
    scores = torch.ones(LONG - 1)
    assert torch.equal(best(scores, 50), scores.sort(descending=True).indices[:50])
