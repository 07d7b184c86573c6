"""Cascades that train as Detectron2's do, against a slow, obvious definition."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import box_iou, roi_align

from zoo.manifest import api
from zoo.models.build import component
from zoo.models.criteria.cascade_roi import cascade_losses
from zoo.models.roi_heads.extractor import rois_of
from zoo.models.targets import GroundTruth
from zoo.structures import ImageGeometry

DETECTRON2, MMDETECTION = "detectron2/cascade_mask_rcnn_R_50_FPN", "cascade_mask_rcnn_r50_caffe_fpn_1x_coco"
SIZE, IOUS = (120, 184), (0.5, 0.6, 0.7)
GEOMETRIES = [ImageGeometry.of_input(SIZE)] * 2
BOXES = torch.tensor([[10.0, 20, 90, 100], [60, 30, 170, 110]])


def narrow(value: Any) -> Any:
    """A description with few channels and classes."""
    if isinstance(value, dict):
        return {key: narrow(item) for key, item in value.items()}
    if isinstance(value, list):
        return [narrow(item) if isinstance(item, dict) else item for item in value]
    return {256: 8, 1024: 16, 80: 3}.get(value, value) if type(value) is int else value


def roi_head(name: str = DETECTRON2, **changes: Any) -> Any:
    """An architecture's narrow cascade, whose heads move boxes."""
    torch.manual_seed(0)
    whole = api.architecture(name)
    train_cfg = [{**cfg, "sampler": {**cfg["sampler"]}} for cfg in whole["train_cfg"]["rcnn"]]
    train_cfg[0]["sampler"]["pos_fraction"] = 1.0
    head = component({**narrow(whole["roi_head"]), "train_cfg": train_cfg, **changes})
    for stage in head.bbox_head:
        torch.nn.init.normal_(stage.fc_reg.weight, std=0.3)
    return head


def features() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(2, 8, 128 // s, 192 // s, generator=generator).requires_grad_() for s in (4, 8, 16, 32)]


def proposals() -> list[Tensor]:
    """Regions of two images: around the objects, anywhere, and one in the padding, which clipping leaves empty."""
    generator = torch.Generator().manual_seed(2)
    result = []
    for _ in range(2):
        near = BOXES.repeat(80, 1) + torch.randn(160, 4, generator=generator) * 4
        corner, extent = torch.rand(40, 2, generator=generator) * 80, torch.rand(40, 2, generator=generator) * 40
        padding = torch.tensor([[20.0, 122, 60, 127]])
        result.append(torch.cat([near, torch.cat([corner, corner + extent + 1], dim=1), padding]))
    return result


def ground_truths() -> list[GroundTruth]:
    """Two objects, and none."""
    masks = torch.zeros(2, 128, 192, dtype=torch.bool)
    masks[0, 30:80, 20:90] = masks[1, 50:100, 60:140] = True
    return [GroundTruth(BOXES, torch.tensor([0, 2]), masks), GroundTruth(BOXES[:0], torch.tensor([]).long())]


def losses_of(head: Any, levels: list[Tensor]) -> dict[str, Tensor]:
    losses: dict[str, Tensor] = cascade_losses(head, levels, proposals(), GEOMETRIES, ground_truths())
    return losses


def as_defined(head: Any, levels: list[Tensor]) -> tuple[dict[str, Tensor], list[int]]:
    """Losses as Detectron2 defines them where no sampler leaves anything out, and how many regions each stage has."""
    losses, counts, targets = {}, [], ground_truths()
    regions = [torch.cat([t.boxes, boxes]) for t, boxes in zip(targets, proposals())]
    for stage, (bbox_head, threshold) in enumerate(zip(head.bbox_head, IOUS)):
        counts.append(sum(map(len, regions)))
        rois, stds = rois_of(regions), torch.tensor(bbox_head.bbox_coder.stds)
        overlaps, owner = box_iou(targets[0].boxes, rois[:, 1:]).max(dim=0)
        positive = (overlaps >= threshold) & (rois[:, 0] == 0)  # the second image has no objects
        labels = torch.where(positive, targets[0].labels[owner], 3)
        logits, deltas = bbox_head(head.bbox_roi_extractor[stage](levels, rois))
        losses[f"s{stage}.loss_cls"] = F.cross_entropy(logits, labels)
        wanted = encoded(rois[positive, 1:], BOXES[owner[positive]]) / stds
        losses[f"s{stage}.loss_bbox"] = (deltas[positive] - wanted).abs().sum() / len(rois)
        if stage == 0:
            losses["s0.loss_mask"] = mask_loss(head, levels, rois[positive], owner[positive])
        moved = bbox_head.bbox_coder.decode(rois[:, 1:], deltas, size=SIZE).detach().split([len(r) for r in regions])
        regions = [boxes[(boxes[:, 2:] > boxes[:, :2]).all(dim=1)] for boxes in moved]
    return losses, counts


def encoded(regions: Tensor, boxes: Tensor) -> Tensor:
    """Deltas from regions (K, 4) to boxes (K, 4)."""
    a, b = regions[:, 2:] - regions[:, :2], boxes[:, 2:] - boxes[:, :2]
    centers = (boxes[:, 2:] + boxes[:, :2] - regions[:, 2:] - regions[:, :2]) / 2
    return torch.cat([centers / a, (b / a).log()], dim=1)


def mask_loss(head: Any, levels: list[Tensor], rois: Tensor, owner: Tensor) -> Tensor:
    """Of the only mask head on regions (K, 5) of the objects (K,)."""
    target = ground_truths()[0]
    logits = head.mask_head[0](head.mask_roi_extractor[0](levels, rois))
    boxes = rois[:, 1:].clone()
    boxes[:, 0::2], boxes[:, 1::2] = boxes[:, 0::2].clamp(0, 192), boxes[:, 1::2].clamp(0, 128)
    numbered = torch.cat([owner[:, None].float(), boxes], dim=1)
    masks = roi_align(target.masks[:, None].float(), numbered, 28, aligned=True)[:, 0] >= 0.5
    own = logits[torch.arange(len(logits)), target.labels[owner]]
    return F.binary_cross_entropy_with_logits(own, masks.float())


def test_detectron2s_cascade_learns_from_all_refined_regions() -> None:
    head, levels = roi_head(), features()
    have, (want, counts) = losses_of(head, levels), as_defined(head, levels)
    assert {name: value.item() for name, value in have.items()} == pytest.approx(
        {name: value.item() for name, value in want.items()}, rel=1e-4
    )
    assert counts[0] == 2 + 2 * 201
    assert counts[0] - 2 >= counts[1] >= counts[2] > 300  # the regions in the padding are gone


def test_pooled_features_of_box_heads_get_a_third_of_the_gradient() -> None:
    gradients = []
    for divide in (True, False):
        head, levels = roi_head(divide_gradients=divide), features()
        losses = losses_of(head, levels)
        masks = torch.autograd.grad(losses.pop("s0.loss_mask"), levels, retain_graph=True)
        sum(losses.values()).backward()  # type: ignore[union-attr]
        weights = [p.grad for p in head.bbox_head.parameters()]
        gradients.append(([level.grad for level in levels], weights, masks))
    (thirds, *others), (whole, *same) = gradients
    assert roi_head().divide_gradients
    assert max(float(level.abs().max()) for level in whole) > 0
    torch.testing.assert_close([3 * level for level in thirds], whole)
    torch.testing.assert_close(others, same)  # the heads' own parameters, and what masks pass on


def test_detectron2s_only_mask_head_learns_from_the_regions_of_the_first_stage() -> None:
    head, levels = roi_head(), features()
    assert len(head.mask_head) == 1
    before = losses_of(head, levels)
    assert [name for name in before if name.endswith("loss_mask")] == ["s0.loss_mask"]
    before["s0.loss_mask"].backward()
    assert all(p.grad is not None and p.grad.any() for p in head.mask_head.parameters())
    with torch.no_grad():
        head.bbox_head[0].fc_reg.bias += 1  # other regions for the next stages
    after = losses_of(head, levels)
    assert after["s0.loss_mask"] == before["s0.loss_mask"]
    assert after["s1.loss_cls"] != before["s1.loss_cls"]


def test_mmdetections_cascade_samples_in_every_stage_and_has_a_mask_head_for_each() -> None:
    head, levels, counts = roi_head(MMDETECTION), features(), []
    pool = head.bbox_roi_extractor[1].forward
    head.bbox_roi_extractor[1].forward = lambda x, rois: counts.append(len(rois)) or pool(x, rois)
    losses = losses_of(head, levels)
    assert [name for name in losses if name.endswith("loss_mask")] == [f"s{i}.loss_mask" for i in range(3)]
    assert counts[0] < 2 + 2 * 201 - 20  # at most 128 of the first image's are positive
    assert not head.divide_gradients
