"""What SOLO's cells learn."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.zoo.models.segmentation.test_solo import HEADS, tiny
from zoo.errors import UsageError
from zoo.models.criteria.solo import last_owner, shrunk, wanted_cells
from zoo.models.targets import GroundTruth


def objects(count: int, height: int = 64, width: int = 96) -> GroundTruth:
    torch.manual_seed(3)
    corner = torch.rand(count, 2) * torch.tensor([width * 0.5, height * 0.5])
    boxes = torch.cat([corner, corner + 8 + torch.rand(count, 2) * 30], dim=1).round()
    masks = torch.zeros(count, height, width, dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.int().tolist()):
        mask[y1:y2, x1:x2] = torch.rand(y2 - y1, x2 - x1) > 0.4
    return GroundTruth(boxes, torch.arange(count) % 3, masks)


def slow_cells(ground_truth: GroundTruth, scales: tuple[float, float], pos_scale: float, grid: int) -> Tensor:
    """The paper's rule, object by object."""
    assert ground_truth.masks is not None
    wanted = torch.zeros(len(ground_truth), grid, grid, dtype=torch.bool)
    height, width = ground_truth.masks.shape[1:]
    for m, (box, mask) in enumerate(zip(ground_truth.boxes.tolist(), ground_truth.masks)):
        w, h = box[2] - box[0], box[3] - box[1]
        if not scales[0] <= (w * h) ** 0.5 <= scales[1] or not mask.any():
            continue
        cy, cx = (float(x.float().mean()) for x in mask.nonzero(as_tuple=True))
        row, column = int(cy / height * grid), int(cx / width * grid)
        top = max(int(max((cy - h * pos_scale / 2) / height * grid, 0)), row - 1)
        down = min(int((cy + h * pos_scale / 2) / height * grid), grid - 1, row + 1)
        left = max(int(max((cx - w * pos_scale / 2) / width * grid, 0)), column - 1)
        right = min(int((cx + w * pos_scale / 2) / width * grid), grid - 1, column + 1)
        wanted[m, top : down + 1, left : right + 1] = True
    return wanted.flatten(1)


@pytest.mark.parametrize("pos_scale", [0.2, 1.5])
def test_objects_are_learnt_by_the_cells_around_their_center(pos_scale: float) -> None:
    ground_truth = objects(12)
    for grid in (3, 7, 20):
        got = wanted_cells(ground_truth, (12, 30), pos_scale, grid, (64, 96))
        assert torch.equal(got, slow_cells(ground_truth, (12, 30), pos_scale, grid)) and got.any()


def test_of_several_objects_the_last_one_gets_the_cell() -> None:
    wanted = torch.tensor([[True, True, False], [False, True, False]])
    assert last_owner(wanted).tolist() == [0, 1, -1]
    assert last_owner(wanted[:0]).tolist() == [-1, -1, -1]


def test_masks_shrink_onto_a_larger_canvas() -> None:
    masks = torch.zeros(1, 8, 8, dtype=torch.bool)
    masks[0, :4, :4] = True
    assert shrunk(masks, 4, (3, 3))[0].int().tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("kind", HEADS)
def test_every_head_learns_also_from_a_image_without_objects(kind: str) -> None:
    model, images, ground_truth = tiny(kind), torch.rand(2, 3, 64, 96), objects(4)
    model.mask_head.loss_cfg = {
        "mask": {"type": "DiceLoss", "loss_weight": 3.0, "activate": not kind.startswith("Decoupled")},
        "cls": {"type": "FocalLoss"},
    }
    model.train()
    some = {"boxes": ground_truth.boxes, "labels": ground_truth.labels, "masks": ground_truth.masks}
    nothing = {name: x[:0] for name, x in some.items() if x is not None}
    for targets in ([some, nothing], [nothing, nothing]):
        losses = model.losses(images, [(64, 96)] * 2, targets)
        assert losses.keys() == {"loss_mask", "loss_cls"}
        sum(losses.values()).backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.mask_head.parameters())
    with pytest.raises(UsageError, match="masks"):
        model.losses(images[:1], [(64, 96)], [{"boxes": ground_truth.boxes, "labels": ground_truth.labels}])
