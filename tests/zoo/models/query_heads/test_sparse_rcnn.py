"""Sparse R-CNN and QueryInst."""

from __future__ import annotations

import torch

from zoo.models.build import build_detector
from zoo.models.query_heads.dynamic_conv import DynamicConv
from zoo.models.query_heads.embedding_rpn import EmbeddingRPNHead
from zoo.structures import ImageGeometry

FOCAL = {"type": "FocalLoss", "use_sigmoid": True}
CONV = {"type": "DynamicConv", "in_channels": 16, "feat_channels": 4, "out_channels": 16}


def extractor(size: int) -> dict[str, object]:
    layer = {"type": "RoIAlign", "output_size": size, "sampling_ratio": 2}
    return {"type": "SingleRoIExtractor", "roi_layer": layer, "out_channels": 16, "featmap_strides": [4, 8]}


def tiny_queryinst(loss_cls: dict[str, object]) -> torch.nn.Module:
    box = {
        "type": "DIIHead", "num_classes": 3, "in_channels": 16, "feedforward_channels": 16, "loss_cls": loss_cls,
        "dynamic_conv_cfg": {**CONV, "input_feat_shape": 3}, "bbox_coder": {"type": "DeltaXYWHBBoxCoder"},
    }  # fmt: skip
    mask = {
        "type": "DynamicMaskHead", "num_classes": 3, "in_channels": 16, "conv_out_channels": 16, "num_convs": 1,
        "dynamic_conv_cfg": {**CONV, "with_proj": False},
    }  # fmt: skip
    torch.manual_seed(0)
    return build_detector(
        {
            "type": "QueryInst",
            "backbone": {"type": "ResNet", "depth": 18, "base_channels": 8, "out_indices": [0, 1]},
            "neck": {"type": "FPN", "in_channels": [8, 16], "out_channels": 16, "num_outs": 2},
            "rpn_head": {"type": "EmbeddingRPNHead", "num_proposals": 6, "proposal_feature_channel": 16},
            "roi_head": {
                "type": "SparseRoIHead", "num_stages": 2, "bbox_head": box, "mask_head": mask,
                "bbox_roi_extractor": extractor(3), "mask_roi_extractor": extractor(6),
            },
            "test_cfg": {"rpn": None, "rcnn": {"max_per_img": 8, "mask_thr_binary": 0.5}},
        }
    )  # fmt: skip


def test_a_batch_of_two_is_two_single_runs() -> None:
    for loss in (FOCAL, {"type": "CrossEntropyLoss"}):
        model = tiny_queryinst(loss)
        images = torch.rand(2, 3, 64, 96)
        for i, result in enumerate(model(images)):
            alone = model(images[i : i + 1])[0]
            assert len(result) == 8 and result.masks is not None and alone.masks is not None
            assert result.masks.shape == (8, 64, 96)
            torch.testing.assert_close(result.scores, alone.scores, rtol=0, atol=1e-5)
            assert (result.masks == alone.masks).float().mean() > 0.99


def test_proposals_start_as_shares_of_the_unpadded_image() -> None:
    boxes, queries = EmbeddingRPNHead(4, 8)([ImageGeometry.of_input((30, 40)), ImageGeometry.of_input((50, 60))])
    assert boxes[0].tolist() == [[0, 0, 40, 30]] * 4 and boxes[1].tolist() == [[0, 0, 60, 50]] * 4
    assert queries.shape == (2, 4, 8)


def test_each_region_is_convolved_with_the_weights_of_its_own_query() -> None:
    torch.manual_seed(0)
    conv = DynamicConv(8, 4, 8, input_feat_shape=3)
    queries, regions = torch.rand(5, 8), torch.rand(5, 8, 3, 3)
    one_by_one = torch.cat([conv(queries[i : i + 1], regions[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(conv(queries, regions), one_by_one)
