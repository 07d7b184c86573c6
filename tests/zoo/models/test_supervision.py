"""Networks say what they learn from."""

from __future__ import annotations

import pytest

from zoo.manifest import api
from zoo.models.supervision import Supervision, supervision


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("faster_rcnn_r50_fpn_1x_coco", Supervision()),
        ("grid_rcnn_r50_fpn_gn-head_2x_coco", Supervision()),
        ("fast_rcnn_r50_fpn_1x_coco", Supervision(proposals=True)),
        ("mask_rcnn_r50_fpn_1x_coco", Supervision(masks=True)),
        ("solov2_r50_fpn_1x_coco", Supervision(masks=True)),
        ("yolact_r50_1x8_coco", Supervision(masks=True)),
        ("queryinst_r50_fpn_1x_coco", Supervision(masks=True)),
        ("mask2former_r50_lsj_8x2_50e_coco", Supervision(masks=True)),
        ("mask2former_r50_lsj_8x2_50e_coco-panoptic", Supervision(masks=True, semantic=133)),
        ("maskformer_r50_mstrain_16x1_75e_coco", Supervision(masks=True, semantic=133)),
        ("panoptic_fpn_r50_fpn_1x_coco", Supervision(masks=True, semantic=133)),
        ("htc_r50_fpn_1x_coco", Supervision(masks=True, semantic=183)),
    ],
)
def test_a_network_says_what_it_learns_from(name: str, wanted: Supervision) -> None:
    assert supervision(api.architecture(name)) == wanted
