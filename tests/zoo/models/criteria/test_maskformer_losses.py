"""Losses of MaskFormer and Mask2Former."""

from __future__ import annotations

import pytest
import torch

from tests.zoo.models.segmentation.test_maskformer import HEADS, tiny
from zoo.errors import UsageError
from zoo.models.criteria.maskformer import at_points, uncertain_points
from zoo.models.detectors.maskformer import with_stuff
from zoo.models.targets import GroundTruth

ASSIGNER = {
    "type": "MaskHungarianAssigner",
    "cls_cost": {"type": "ClassificationCost", "weight": 1.0},
    "mask_cost": {"type": "FocalLossCost", "weight": 20.0, "binary_input": True},
    "dice_cost": {"type": "DiceCost", "weight": 1.0, "pred_act": True, "eps": 1.0},
}
LOSSES = {
    "cls": {"type": "CrossEntropyLoss", "class_weight": [1.0] * 5 + [0.1]},
    "mask": {"type": "FocalLoss", "loss_weight": 20.0},
    "dice": {"type": "DiceLoss", "naive_dice": True, "eps": 1.0},
}


@pytest.mark.parametrize("kind", HEADS)
def test_every_layer_learns_also_from_a_image_without_objects(kind: str) -> None:
    model = tiny(kind).train()
    head = model.panoptic_head
    head.train_cfg, head.loss_cfg = {"assigner": ASSIGNER, "num_points": 60}, LOSSES
    masks = torch.zeros(2, 50, 80, dtype=torch.bool)
    masks[0, 10:30, 10:40], masks[1, 25:, 20:] = True, True
    some = {"boxes": torch.zeros(2, 4), "labels": torch.tensor([1, 4]), "masks": masks}
    nothing = {name: x[:0] for name, x in some.items()}
    for targets in ([some, nothing], [nothing, nothing]):
        losses = model.losses(torch.rand(2, 3, 64, 96), [(64, 96), (50, 80)], targets)
        layers = 5 if kind == "mask2former" else 1
        prefixes = ["", *(f"d{i}." for i in range(layers - 1))]
        assert losses.keys() == {p + name for p in prefixes for name in ("loss_cls", "loss_mask", "loss_dice")}
        sum(losses.values()).backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    assert head.mask_embed[0].weight.grad.any() and head.query_embed.weight.grad.any()
    with pytest.raises(UsageError, match="masks"):
        model.losses(torch.rand(1, 3, 64, 96), [(64, 96)], [{k: v for k, v in some.items() if k != "masks"}])


def test_points_are_mostly_where_the_mask_is_uncertain() -> None:
    torch.manual_seed(0)
    ramp = torch.linspace(-5, 5, 40).expand(1, 40, 40)
    points = uncertain_points(ramp, 200, 3.0, 0.75)
    assert points.shape == (1, 200, 2) and (points >= 0).all() and (points <= 1).all()
    certain = at_points(ramp, points).abs()
    assert certain[:, :150].mean() < 0.5 * at_points(ramp, torch.rand(1, 200, 2)).abs().mean()


def test_stuff_of_a_semantic_map_is_learned_behind_the_objects() -> None:
    masks = torch.zeros(1, 4, 6, dtype=torch.bool)
    semantic = torch.tensor([[1] * 6, [4] * 6, [3] * 6, [255] * 6])  # a thing, two kinds of stuff, unknown
    learned = with_stuff(GroundTruth(torch.zeros(1, 4), torch.tensor([1]), masks, semantic=semantic), range(3, 5))
    assert learned.labels.tolist() == [1, 3, 4]
    assert learned.masks is not None and learned.masks[1:].flatten(1).nonzero().tolist() == [
        [0, i] for i in range(12, 18)
    ] + [[1, i] for i in range(6, 12)]
