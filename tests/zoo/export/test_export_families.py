"""Every family's ONNX graph is its network, at other sizes than the example's, with padding and with masks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import zoo
from tests.zoo.export.test_export import RETINA, network
from tests.zoo.models.detectors import test_two_stage as two_stage
from tests.zoo.models.query_heads import test_query_detectors as query_detectors
from tests.zoo.models.query_heads.test_detr import tiny_deformable_detr, tiny_detr
from tests.zoo.models.query_heads.test_sparse_rcnn import FOCAL, tiny_queryinst
from tests.zoo.models.segmentation import test_maskformer as maskformer
from tests.zoo.models.segmentation import test_solo as solo
from zoo.export import export, runtimes
from zoo.export.difference import difference
from zoo.export.graph_outputs import kind_of
from zoo.manifest import api
from zoo.structures import Sample

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


def padded(height: int, width: int, seed: int) -> Sample:
    """An image that is 9 rows and 14 columns smaller than the input, and twice as large outside of it."""
    image = np.random.default_rng(seed).normal(size=(3, height, width)).astype(np.float32)
    size = (height - 9, width - 14)
    image[:, size[0] :] = 0
    image[:, :, size[1] :] = 0
    return Sample(torch.from_numpy(image), size, (0.5, 0.5), (size[0] * 2, size[1] * 2))


def dense(name: str, score_thr: float = 0.0) -> Any:
    """A single-stage network of the zoo with few channels, whose outputs differ from place to place."""
    torch.manual_seed(0)
    description = two_stage.narrow(dict(api.architecture(name)))
    description["test_cfg"].update(nms_pre=60, score_thr=score_thr, max_per_img=20)
    return spread(zoo.build(description))


def spread(model: Any) -> Any:
    """The network with weights that let its outputs differ from place to place."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=(0.7 / parameter[0].numel()) ** 0.5)
    return model


def soft(name: str) -> Any:
    """A narrow single-stage network with soft suppression."""
    model = dense(name)
    model.bbox_head.test_cfg |= {"nms": {"type": "soft_nms", "iou_threshold": 0.3, "method": "gaussian"}}
    return model


def best_of_classes(name: str) -> Any:
    """A narrow single-stage network whose classes have a number of candidates each, as torchvision's SSD."""
    model = dense(name)
    model.bbox_head.test_cfg |= {"nms_pre": -1, "class_pre": 3}
    return model


def rtmdet(name: str) -> Any:
    """A narrow RTMDet, or RTMDet-Ins."""
    torch.manual_seed(0)
    description = two_stage.narrow({**api.architecture(name), "backbone": {}})
    backbone = {**api.architecture(name)["backbone"], "deepen_factor": 0.167, "widen_factor": 0.125}
    description["backbone"] = backbone
    description["neck"].update(in_channels=[32, 64, 128], out_channels=32, num_csp_blocks=1)
    description["bbox_head"].update(in_channels=32, feat_channels=32)
    description["test_cfg"].update(nms_pre=60, score_thr=0.0, max_per_img=20)
    model = spread(zoo.build(description)).train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    model.bbox_head(model.features(torch.randn(2, 3, 256, 256)))  # statistics that keep signals from vanishing
    return model


# Two-stage networks that are left out: what they do at random weights, or at all, is not a test of a graph.
WITHOUT = {
    "faster_rcnn_r50_fpg_crop640_50e_coco",  # its levels only fit each other at multiples of 128
    "faster_rcnn_r50_fpn_mdpool_1x_coco",  # ONNX has no `nextafter`
    "grid_rcnn_r50_fpn_gn-head_2x_coco",  # flat heatmaps, whose highest cell is a matter of the last digit
}


def with_backbone(**description: Any) -> Any:
    """A small RetinaNet on another backbone."""
    widths = description.pop("widths", [8, 16, 32, 64])
    return network({**RETINA, "backbone": description, "neck": {**RETINA["neck"], "in_channels": widths}})


NETWORKS: dict[str, Callable[[], Any]] = {
    "DETR": tiny_detr,
    "Deformable DETR": partial(tiny_deformable_detr, with_box_refine=False, as_two_stage=False),
    "Deformable DETR, two stages": partial(tiny_deformable_detr, with_box_refine=True, as_two_stage=True),
    "Swin": partial(
        with_backbone, type="SwinTransformer", embed_dims=8, depths=[2, 2, 2, 2], num_heads=[1, 2, 4, 8], window_size=3
    ),
    "PVT": partial(
        with_backbone, type="PyramidVisionTransformer", embed_dims=8, num_layers=[1] * 4, widths=[8, 16, 40, 64]
    ),
    "PVTv2": partial(
        with_backbone, type="PyramidVisionTransformerV2", embed_dims=8, num_layers=[1] * 4, widths=[8, 16, 40, 64]
    ),
    "Conditional DETR": partial(query_detectors.tiny, "conditional-detr_r50_8xb2-50e_coco"),
    "DAB-DETR": partial(query_detectors.tiny, "dab-detr_r50_8xb2-50e_coco"),
    "DINO": partial(query_detectors.tiny, "dino-4scale_r50_8xb2-12e_coco"),
    "RTMDet": partial(rtmdet, "rtmdet_tiny_8xb32-300e_coco"),
    "RTMDet-Ins": partial(rtmdet, "rtmdet-ins_tiny_8xb32-300e_coco"),
    "RetinaNet with soft suppression": partial(soft, "retinanet_r50_fpn_1x_coco"),
    "RetinaNet with the best of each class": partial(best_of_classes, "retinanet_r50_fpn_1x_coco"),
    "QueryInst": partial(tiny_queryinst, FOCAL),
    **{kind: partial(solo.tiny, kind) for kind in solo.HEADS},
    **{f"MaskFormer, {kind}": partial(maskformer.tiny, kind) for kind in maskformer.HEADS},
    **{name: partial(two_stage.build, name) for name in two_stage.ARCHITECTURES if name not in WITHOUT},
    **{
        name: partial(dense, name)
        for name in (
            "fcos_r50_caffe_fpn_gn-head_1x_coco",
            "paa_r50_fpn_1x_coco",
            "reppoints_moment_r50_fpn_1x_coco",
            "tood_r50_fpn_1x_coco",
            "vfnet_r50_fpn_1x_coco",
            "yolact_r50_1x8_coco",
        )
    },
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_graph_is_its_network_at_every_size_without_its_padding(name: str, tmp_path: Path) -> None:
    model = NETWORKS[name]().eval()
    graph = runtimes.OnnxDetector(export.to_onnx(model, tmp_path / "m.onnx", padded(128, 160, 0)), model)
    result = difference(model, graph, [padded(128, 192, 1), padded(160, 128, 2)])
    assert result.detections > 5 or result.panoptic is not None
    assert result.matched > 0.97 and result.score < 1e-3
    masks = model.predict(padded(128, 192, 1).image[None], [padded(128, 192, 1).geometry])[0].masks is not None
    assert (result.mask is not None) == masks
    assert result.mask is None or result.mask > 0.9
    assert result.panoptic is None or result.panoptic > 0.98
    assert ("keypoint" in name) == (result.keypoints is not None)
    assert result.keypoints is None or result.keypoints > 0.97


def test_efficientdet_is_exported_with_its_own_soft_suppression(tmp_path: Path) -> None:
    """Its levels meet at multiples of 128 pixels only, so its inputs are padded to these."""
    torch.manual_seed(0)
    description = two_stage.narrow(dict(api.architecture("efficientdet_effb3_bifpn_8xb16-crop896-300e_coco")))
    description["neck"].update(in_channels=[8, 16, 32], num_stages=2)
    description["backbone"] = {**two_stage.BACKBONE, "out_indices": [0, 1, 2], "strides": [2, 2, 2, 2]}
    description["test_cfg"].update(nms_pre=60, score_thr=0.0, max_per_img=20)
    model = spread(zoo.build(description)).eval()
    graph = runtimes.OnnxDetector(export.to_onnx(model, tmp_path / "m.onnx", padded(128, 256, 0)), model)
    result = difference(model, graph, [padded(256, 256, 1), padded(128, 128, 2)])
    assert result.detections > 5 and result.matched > 0.97 and result.score < 1e-3


@pytest.mark.parametrize("name", ["DETR", "SOLOV2Head"])
def test_a_program_is_its_network_at_every_size_without_its_padding(name: str, tmp_path: Path) -> None:
    model = NETWORKS[name]().eval()
    program = runtimes.ProgramDetector(export.to_program(model, tmp_path / "m.pt2", padded(128, 160, 0)), model)
    assert program.shape[2:] == [None, None]
    result = difference(model, program, [padded(192, 256, 1), padded(96, 128, 2)])
    assert result.detections > 5 and result.matched > 0.97 and result.score < 1e-3
    assert result.mask is None or result.mask > 0.9


def test_what_onnx_cannot_say_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = two_stage.build("faster_rcnn_r50_fpn_mdpool_1x_coco").eval()
    with pytest.raises(export.ExportError, match=r"cannot be exported: .*'aten::nextafter' to ONNX .*not supported"):
        export.to_onnx(model, tmp_path / "m.onnx", padded(128, 160, 0))
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")  # PyTorch would print the whole graph


@pytest.mark.parametrize(
    "name, sentence",
    [
        ("fast_rcnn_r50_fpn_1x_coco", "regions that come with the call"),
        ("cornernet_hourglass104_mstest_10x5_210e_coco", "as many steps as there are boxes"),
    ],
)
def test_what_has_no_graph_is_said(name: str, sentence: str) -> None:
    with torch.device("meta"):
        model = zoo.build(name)
    with pytest.raises(export.ExportError, match=sentence):
        kind_of(model)
