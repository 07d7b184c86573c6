"""SOLO, Decoupled SOLO and SOLOv2."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from zoo.models.build import build_detector
from zoo.models.segmentation.matrix_nms import matrix_nms

CFG = {"nms_pre": 50, "score_thr": 0.1, "mask_thr": 0.5, "filter_thr": 0.05, "kernel": "gaussian", "max_per_img": 7}
HEADS: dict[str, dict[str, Any]] = {
    "SOLOHead": {},
    "DecoupledSOLOHead": {},
    "DecoupledSOLOLightHead": {},
    "SOLOV2Head": {"mask_feature_head": {"feat_channels": 8, "start_level": 0, "end_level": 1, "out_channels": 8}},
}


def tiny(kind: str, score_thr: float = 0.1) -> torch.nn.Module:
    torch.manual_seed(0)
    head = {
        "type": kind, "num_classes": 3, "in_channels": 8, "feat_channels": 8, "stacked_convs": 1, "strides": [4, 8],
        "scale_ranges": [[1, 32], [16, 64]], "num_grids": [5, 3], "norm_cfg": {"type": "GN", "num_groups": 2},
    }  # fmt: skip
    model = build_detector(
        {
            "type": "SOLO",
            "backbone": {"type": "ResNet", "depth": 18, "base_channels": 8, "out_indices": [0, 1]},
            "neck": {"type": "FPN", "in_channels": [8, 16], "out_channels": 8, "num_outs": 2},
            "mask_head": {**head, **HEADS[kind]},
            "test_cfg": {**CFG, "score_thr": score_thr},
        }
    )
    for name, parameter in model.mask_head.named_parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=1.0 if "mask" in name or "kernel" in name else 0.3)
        elif name.endswith("bias"):
            torch.nn.init.zeros_(parameter)
    return model


@pytest.mark.parametrize("kind", HEADS)
def test_a_batch_of_two_is_two_single_runs(kind: str) -> None:
    model = tiny(kind)
    images = torch.rand(2, 3, 64, 96)
    for i, result in enumerate(model(images)):
        alone = model(images[i : i + 1])[0]
        assert len(result) > 0 and result.masks is not None and alone.masks is not None
        assert result.masks.shape == (len(result), 64, 96) and result.masks.any()
        torch.testing.assert_close(result.scores, alone.scores, rtol=0, atol=1e-5)
        assert (result.masks == alone.masks).float().mean() > 0.99


@pytest.mark.parametrize("kind", HEADS)
def test_nothing_above_the_threshold_is_an_empty_result(kind: str) -> None:
    result = tiny(kind, score_thr=1.0)(torch.rand(1, 3, 64, 96), [(60, 80)])[0]
    assert len(result) == 0 and result.masks is not None and result.masks.shape == (0, 60, 80)


def test_a_decoupled_mask_is_its_column_times_its_row() -> None:
    head = tiny("DecoupledSOLOHead").mask_head
    pairs = [(torch.rand(1, grid, 4, 6), torch.rand(1, grid, 4, 6)) for grid in (5, 3)]
    cells = torch.tensor([0, 7, 24, 25, 30])  # the second level starts at 25
    masks = head.masks((pairs, []), 0, cells)
    for mask, (level, row, column) in zip(masks, [(0, 0, 0), (0, 1, 2), (0, 4, 4), (1, 0, 0), (1, 1, 2)]):
        want = pairs[level][0][0, column].sigmoid() * pairs[level][1][0, row].sigmoid()
        torch.testing.assert_close(mask, want)


def slow_decay(masks: torch.Tensor, labels: torch.Tensor, j: int) -> float:
    """The paper's equation, mask by mask."""

    def iou(a: int, b: int) -> float:
        same = int(labels[a]) == int(labels[b])
        return same * float((masks[a] & masks[b]).sum()) / float((masks[a] | masks[b]).sum())

    def weight(value: float) -> float:
        return math.exp(-2.0 * value**2)

    worst = [max([iou(k, i) for k in range(i)], default=0.0) for i in range(j)]
    return min([weight(iou(i, j)) / weight(worst[i]) for i in range(j)], default=1.0)


def test_matrix_nms_is_the_papers_equation() -> None:
    torch.manual_seed(0)
    masks, labels = torch.rand(12, 6, 6) > 0.4, torch.randint(0, 2, (12,))
    scores = torch.rand(12).sort(descending=True)[0]
    want = torch.tensor([float(s) * min(slow_decay(masks, labels, j), 1.0) for j, s in enumerate(scores)])
    kept, values = matrix_nms(masks, labels, scores, masks.sum((1, 2)).float(), {"sigma": 2.0})
    torch.testing.assert_close(values, want[kept])
    assert len(kept) == 12 and values.tolist() == sorted(values.tolist(), reverse=True)


def test_matrix_nms_keeps_the_best_of_what_stays_above_the_filter() -> None:
    masks = torch.ones(3, 2, 2, dtype=torch.bool)
    scores, labels = torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0, 0, 1])
    kept, values = matrix_nms(masks, labels, scores, torch.full((3,), 4.0), {"filter_thr": 0.3, "max_per_img": 5})
    assert kept.tolist() == [0, 2]
    torch.testing.assert_close(values, torch.tensor([0.9, 0.7]))
