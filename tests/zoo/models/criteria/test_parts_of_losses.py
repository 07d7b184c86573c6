"""Parts of losses against slow, obvious definitions."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import zoo
from zoo.errors import UsageError
from zoo.models.assigners.task_aligned import TaskAlignedAssigner
from zoo.models.box_ops import aligned_iou
from zoo.models.build import component
from zoo.models.criteria import state, table
from zoo.models.criteria.heatmaps import add_spot, reach
from zoo.models.criteria.mixture import two_normals
from zoo.models.criteria.pisa import importance
from zoo.models.losses.harmonized import GHMC
from zoo.models.losses.seesaw import SeesawLoss
from zoo.models.samplers.score_hlr import ranks
from zoo.models.targets import BACKGROUND, Assignment, GroundTruth

BOXES = torch.tensor([[0.0, 0, 40, 40], [30, 30, 90, 90]])
GROUND_TRUTH = GroundTruth(BOXES, torch.tensor([0, 1]))


def test_harmonized_classification_weighs_by_the_density_of_gradients() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(20, 3), torch.randint(0, 4, (20,))
    weight = torch.ones(20)
    weight[3] = 0
    wanted = F.one_hot(labels, 4)[:, :3].float()
    gradient = (logits.sigmoid() - wanted).abs()
    bins = [
        [(i, c) for i in range(20) for c in range(3) if i != 3 and b <= float(gradient[i, c]) * 5 < b + 1]
        for b in range(5)
    ]
    filled = [b for b in bins if b]
    loss = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    expected = sum(float(loss[i, c]) / len(b) / len(filled) for b in filled for i, c in b)
    assert float(GHMC(bins=5)(logits, labels, weight)) == pytest.approx(expected, rel=1e-5)


def test_harmonized_losses_remember_how_dense_gradients_were() -> None:
    head = nn.Module()
    head.loss_cfg = {"cls": {"type": "GHMC", "bins": 3, "momentum": 0.75}}  # type: ignore[assignment]
    model = nn.Sequential(head)
    logits, labels, weight = torch.tensor([[0.1], [2.0]]), torch.tensor([0, 1]), torch.ones(2)
    first, second = (float(state.loss_of(head, "cls")(logits, labels, weight)) for _ in range(2))
    kept = state.loss_states(model)
    third = float(state.loss_of(head, "cls")(logits, labels, weight))
    assert first > second > third
    state.load_loss_states(model, kept)
    assert float(state.loss_of(head, "cls")(logits, labels, weight)) == third


def test_seesaw_loss_spares_rare_classes() -> None:
    loss = SeesawLoss(p=0.8, q=0, num_classes=3, memory={"counts": torch.tensor([100.0, 100, 1, 0])})
    logits = torch.zeros(1, 5)
    frequent = loss.of_classes(logits[:, :3], torch.tensor([0]), torch.tensor([100.0, 100, 1]))
    assert float(frequent) == pytest.approx(math.log(2 + 0.01**0.8), rel=1e-5)
    parts = loss(logits, torch.tensor([3]))
    assert set(parts) == {"loss_cls_objectness", "loss_cls_classes"}
    assert float(parts["loss_cls_classes"]) == 0
    assert float(parts["loss_cls_objectness"]) == pytest.approx(math.log(2), rel=1e-5)


def test_a_mixture_tells_two_kinds_apart() -> None:
    values = torch.tensor([0.1, 0.2, 0.3, 5.0, 5.1, 5.3])
    joint = two_normals(values)
    assert (joint[:, 0] > joint[:, 1]).tolist() == [True] * 3 + [False] * 3
    density = joint.exp().sum(dim=1)
    low = values[:3].double()
    expected = 0.5 * torch.distributions.Normal(low.mean(), (low.var(correction=0) + 1e-6).sqrt()).log_prob(low).exp()
    assert torch.allclose(density[:3], expected, rtol=1e-3)


def test_importance_keeps_the_sum_of_the_losses_and_prefers_the_best() -> None:
    overlaps, labels = torch.tensor([0.9, 0.8, 0.7, 0.2]), torch.tensor([0, 0, 0, 1])
    owners, losses = torch.tensor([0, 0, 1, 2]), torch.tensor([1.0, 2, 3, 4])
    weights = importance(overlaps, labels, owners, losses, torch.ones(4), k=1)
    assert float((weights * losses).sum()) == pytest.approx(10)
    # The best of either object comes before the second best of the first.
    assert weights[0] > weights[2] > weights[1]


@pytest.mark.parametrize("kind", ["RandomSampler", "InstanceBalancedPosSampler", "IoUBalancedNegSampler"])
def test_samplers_take_what_they_should(kind: str) -> None:
    torch.manual_seed(0)
    index = torch.full((60,), BACKGROUND)
    index[:18], index[18:20] = 0, 1
    result = Assignment(index, torch.linspace(0.9, 0, 60))
    settings = {"floor_thr": 0.0, "num_bins": 2} if kind == "IoUBalancedNegSampler" else {}
    sampler = component({"type": kind, "num": 12, "pos_fraction": 0.5, "add_gt_as_proposals": False, **settings})
    samples = sampler.sample(result, torch.rand(60, 4), GROUND_TRUTH)
    assert len(samples.positive) == len(samples.negative) == 6
    assert samples.positive.unique().numel() == samples.negative.unique().numel() == 6
    assert (index[samples.positive] >= 0).all()
    assert (index[samples.negative] == BACKGROUND).all()
    if kind == "InstanceBalancedPosSampler":
        assert (samples.matched == 1).sum() == 2
    if kind == "IoUBalancedNegSampler":
        assert (result.overlaps[samples.negative] >= 0.45).sum() == 3


def test_the_combined_sampler_asks_one_for_each_kind() -> None:
    sampler = component(
        {
            "type": "CombinedSampler",
            "num": 8,
            "pos_fraction": 0.5,
            "pos_sampler": {"type": "InstanceBalancedPosSampler"},
            "neg_sampler": {"type": "IoUBalancedNegSampler", "floor_thr": -1, "num_bins": 3},
        }
    )
    index = torch.full((40,), BACKGROUND)
    index[:20] = 0
    samples = sampler.sample(Assignment(index, torch.rand(40)), torch.rand(40, 4), GROUND_TRUTH)
    assert len(samples.positive) == len(samples.negative) == 4
    assert 1 in samples.matched  # the second object's own box is a candidate


def test_task_alignment_takes_the_best_of_both_within_the_object() -> None:
    anchors = torch.tensor([[10.0, 10, 30, 30], [12, 12, 32, 32], [200, 200, 220, 220], [50, 50, 70, 70]])
    scores = torch.tensor([[0.9, 0.1], [0.1, 0.1], [0.9, 0.9], [0.2, 0.8]])
    predicted = torch.cat([BOXES[:1], BOXES[:1], BOXES[:1], BOXES[1:]])
    detections, alignment = TaskAlignedAssigner(1).assign(scores, predicted, anchors, GROUND_TRUTH, 1, 6)
    assert detections.index.tolist() == [0, BACKGROUND, BACKGROUND, 1]
    assert alignment.tolist() == pytest.approx([0.9, 0, 0, 0.8])


def test_a_keypoint_within_its_reach_leaves_enough_overlap() -> None:
    radius = reach(30, 20, 0.3)
    box = torch.tensor([[0.0, 0, 30, 20]])
    assert float(aligned_iou(box, box + radius)) >= 0.3
    assert float(aligned_iou(box, box + radius + 3)) < 0.3


def test_a_spot_is_cut_off_at_the_border() -> None:
    heat = torch.zeros(16, 16)
    add_spot(heat, 2, 14, 4)
    assert heat.argmax() == 14 * 16 + 2
    assert heat.max() == 1
    assert not heat[:10].any()


def test_the_best_of_every_group_of_negatives_comes_first() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60], [0, 1, 10, 10]])
    assert ranks(boxes, torch.tensor([0.9, 0.8, 0.3, 0.7]), 0.5).tolist() == [0, 2, 1, 3]


def test_a_student_without_teacher_says_whom_it_needs() -> None:
    model = zoo.build("ld_r18_gflv1_r101_fpn_coco_1x").train()
    target = {"boxes": BOXES, "labels": GROUND_TRUTH.labels}
    with pytest.raises(UsageError, match=r"zoo.load\('gfl_r101_fpn_mstrain_2x_coco'\)"):
        model.losses(torch.zeros(1, 3, 64, 64), [(64, 64)], [target])


@pytest.mark.parametrize("name", ["demo_yolox", "demo_atss"])
def test_dense_losses_are_of_full_precision_in_mixed_precision_too(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def watched(head: nn.Module, outputs: list[list[torch.Tensor]], *rest: object) -> dict[str, torch.Tensor]:
        seen.append((torch.is_autocast_enabled("cpu"), {x.dtype for level in outputs for x in level}))
        return {}

    monkeypatch.setattr(table, "losses_of", lambda head: watched)
    target = {"boxes": BOXES, "labels": torch.tensor([0, 1])}
    with torch.autocast("cpu", torch.bfloat16):
        zoo.build(name).train().losses(torch.zeros(1, 3, 64, 64), [(64, 64)], [target])
    assert seen == [(False, {torch.float32})]
