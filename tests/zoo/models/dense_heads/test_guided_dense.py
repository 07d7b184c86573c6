"""Heads whose anchors are predicted: Cascade RPN and guided anchoring."""

from __future__ import annotations

import torch

from zoo.models.dense_heads.cascade_rpn import anchor_offsets
from zoo.models.dense_heads.guided_anchor import GARPNHead
from zoo.structures import ImageGeometry


def test_the_kernel_is_spread_from_corner_to_corner_of_the_anchor() -> None:
    anchors = torch.tensor([[1.0, 2, 5, 8], [0, 0, 3, 1], [2, 2, 4, 4], [-1, 0, 6, 2]])[None]
    offsets = anchor_offsets(anchors, (2, 2)).view(9, 2, 4).flip(1)  # kernel element, (x, y), cell
    cells = torch.tensor([[0.0, 0], [1, 0], [0, 1], [1, 1]]).T
    torch.testing.assert_close(cells - 1 + offsets[0], anchors[0, :, :2].T)
    torch.testing.assert_close(cells + offsets[4], (anchors[0, :, :2] + anchors[0, :, 2:]).T / 2)
    torch.testing.assert_close(cells + 1 + offsets[8], anchors[0, :, 2:].T)


def guided() -> GARPNHead:
    """A small head on two levels, the same at every call; random numbers after it are the same, too."""
    torch.manual_seed(0)
    head = GARPNHead(
        in_channels=8,
        feat_channels=8,
        approx_anchor_generator={
            "type": "AnchorGenerator",
            "octave_base_scale": 8,
            "scales_per_octave": 3,
            "ratios": [0.5, 1.0, 2.0],
            "strides": [8, 16],
        },
        square_anchor_generator={"type": "AnchorGenerator", "ratios": [1.0], "scales": [8], "strides": [8, 16]},
        anchor_coder={"type": "DeltaXYWHBBoxCoder"},
        loss_cls={"type": "CrossEntropyLoss", "use_sigmoid": True},
        test_cfg={
            "nms_pre": 50,
            "nms_post": 50,
            "max_per_img": 30,
            "nms": {"type": "nms", "iou_threshold": 0.7},
            "min_bbox_size": 0,
        },
    )
    return head.eval()


@torch.inference_mode()
def test_places_below_the_threshold_have_no_anchors() -> None:
    head, features, geometry = (
        guided(),
        [torch.randn(1, 8, 6, 8), torch.randn(1, 8, 3, 4)],
        ImageGeometry.of_input((48, 64)),
    )
    outputs = head(features)
    assert len(head.predict(outputs, [geometry])[0]) > 0
    nowhere = (*outputs[:3], [torch.full_like(x, -20) for x in outputs[3]])
    assert len(head.predict(nowhere, [geometry])[0]) == 0


@torch.inference_mode()
def test_masked_and_whole_predictions_give_the_same_proposals() -> None:
    head, features, geometry = (
        guided(),
        [torch.randn(1, 8, 6, 8), torch.randn(1, 8, 3, 4)],
        ImageGeometry.of_input((48, 64)),
    )
    likely = torch.cat([locations.sigmoid().flatten() for locations in head(features)[3]])
    head.loc_filter_thr = float(likely.quantile(0.9))  # few enough places that only they are computed
    masked = head.predict(head(features), [geometry])[0]
    head.chosen = lambda locations: None  # computed everywhere, of which the same places are taken
    whole = head.predict(head(features), [geometry])[0]
    assert len(masked) > 0
    torch.testing.assert_close(masked.boxes, whole.boxes)
    torch.testing.assert_close(masked.scores, whole.scores)
