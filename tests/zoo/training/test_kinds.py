"""Every kind of detector, head and neck goes the whole way: a folder of images, augmentations, losses, backward,
optimizer, checkpoint, resumption, and the published file. Networks are narrow; the heads are the published ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import zoo
from benchmarks.datasets import demo
from benchmarks.perf import trainable
from zoo.manifest import api
from zoo.training import recipe
from zoo.training.checkpointing import load_state, meta, save_state
from zoo.training.publish import publish

WIDTHS = {256: 32, 512: 32, 1024: 32, 2048: 64, 128: 32, 64: 8}
BACKBONE = {"type": "ResNet", "depth": 18, "base_channels": 8, "norm_eval": True}
PYRAMID = ([256, 512, 1024, 2048], [8, 16, 32, 64])

FAST = (
    "atss_r50_fpn_1x_coco",
    "cascade_mask_rcnn_r50_fpn_1x_coco",
    "deformable_detr_r50_16x2_50e_coco",
    "fcos_r50_caffe_fpn_gn-head_1x_coco",
    "mask2former_r50_lsj_8x2_50e_coco-panoptic",
    "solov2_r50_fpn_1x_coco",
    "yolox_nano_8x8_300e_coco",
)
SLOW = (
    "atss_r50_fpn_dyhead_1x_coco",
    "autoassign_r50_fpn_8x2_1x_coco",
    "bbox_r50_grid_fpn_gn-neck+head_1x_coco",
    "boxinst_r50_fpn_ms-90k_coco",
    "cascade_rcnn_r50_fpn_1x_coco",
    "centernet-update_r50-caffe_fpn_ms-1x_coco",
    "centernet_resnet18_140e_coco",
    "condinst_r50_fpn_ms-poly-90k_coco_instance",
    "conditional-detr_r50_8xb2-50e_coco",
    "crpn_faster_rcnn_r50_caffe_fpn_1x_coco",
    "ddod_r50_fpn_1x_coco",
    "decoupled_solo_light_r50_fpn_3x_coco",
    "decoupled_solo_r50_fpn_1x_coco",
    "deformable_detr_twostage_refine_r50_16x2_50e_coco",
    "detectron2/cascade_mask_rcnn_R_50_FPN",
    "detr_r50_8x2_150e_coco",
    "dh_faster_rcnn_r50_fpn_1x_coco",
    "dynamic_rcnn_r50_fpn_1x_coco",
    "fast_rcnn_r50_fpn_1x_coco",
    "faster_rcnn_r50_caffe_c4_1x_coco",
    "faster_rcnn_r50_fpn_mdpool_1x_coco",
    "faster_rcnn_r50_pafpn_1x_coco",
    "fovea_align_r50_fpn_gn-head_4x4_2x_coco",
    "fsaf_r50_fpn_1x_coco",
    "ga_faster_r50_caffe_fpn_1x_coco",
    "ga_retinanet_r50_caffe_fpn_1x_coco",
    "htc_r50_fpn_1x_coco",
    "gfl_r50_fpn_1x_coco",
    "grid_rcnn_r50_fpn_gn-head_2x_coco",
    "lad_r50_paa_r101_fpn_coco_1x",
    "ld_r18_gflv1_r101_fpn_coco_1x",
    "libra_faster_rcnn_r50_fpn_1x_coco",
    "mask2former_r50_lsj_8x2_50e_coco",
    "mask_rcnn_r50_caffe_fpn_syncbn-all_rpn-2conv_lsj_100e_coco",
    "mask_rcnn_r50_fpn_carafe_1x_coco",
    "mask_rcnn_r50_fpn_groie_1x_coco",
    "mask_rcnn_r50_fpn_random_seesaw_loss_normed_mask_mstrain_2x_lvis_v1",
    "maskformer_r50_mstrain_16x1_75e_coco",
    "ms_rcnn_r50_caffe_fpn_1x_coco",
    "nas_fcos_nashead_r50_caffe_fpn_gn-head_4x4_1x_coco",
    "paa_r50_fpn_1x_coco",
    "panoptic_fpn_r50_fpn_1x_coco",
    "pisa_mask_rcnn_r50_fpn_1x_coco",
    "pisa_retinanet_r50_fpn_1x_coco",
    "point_rend_r50_caffe_fpn_mstrain_1x_coco",
    "queryinst_r50_fpn_1x_coco",
    "reppoints_moment_r50_fpn_1x_coco",
    "retinanet_free_anchor_r50_fpn_1x_coco",
    "retinanet_ghm_r50_fpn_1x_coco",
    "retinanet_r50_fpn_1x_coco",
    "rpn_r50_fpn_1x_coco",
    "sabl_cascade_rcnn_r50_fpn_1x_coco",
    "sabl_retinanet_r50_fpn_1x_coco",
    "sparse_rcnn_r50_fpn_1x_coco",
    "scnet_r50_fpn_1x_coco",
    "soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco",
    "solo_r50_fpn_3x_coco",
    "ssdlite_mobilenetv2_scratch_600e_coco",
    "tood_r50_fpn_1x_coco",
    "tridentnet_r50_caffe_1x_coco",
    "vfnet_r50_fpn_1x_coco",
    "yolact_r50_1x8_coco",
    "yolof_r50_c5_8x8_1x_coco",
    "yolov3_mobilenetv2_320_300e_coco",
)
# Tensors that the published file has and nothing reads: the last convolution of MobileNetV2 and its norm.
UNUSED = {"yolov3_mobilenetv2_320_300e_coco": 3}


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return demo.write(tmp_path_factory.mktemp("four"), {"train": 4})


def narrow(value: Any, key: str = "") -> Any:
    """A description with few channels, where it can do with them."""
    if isinstance(value, dict):
        return {k: narrow(v, k) for k, v in value.items()}
    if key == "in_channels" and value == PYRAMID[0]:
        return PYRAMID[1]
    if isinstance(value, list):
        return [narrow(v, key) for v in value]
    return WIDTHS.get(value, value) if type(value) is int and "channels" in key else value


def network(name: str) -> dict[str, Any]:
    """An architecture on a narrow ResNet-18 if a pyramid of a ResNet is what it has, else the published one."""
    whole = api.architecture(name)
    neck = whole.get("neck")
    if not isinstance(neck, dict) or neck.get("in_channels") != PYRAMID[0]:
        return dict(whole)
    if whole["type"] in ("SparseRCNN", "QueryInst"):  # their attention is as wide as what it sees
        return {**whole, "neck": {**neck, "in_channels": PYRAMID[1]}, "backbone": BACKBONE}
    return {**narrow(whole), "backbone": BACKBONE}


@pytest.mark.parametrize("name", [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_a_network_goes_the_whole_way(name: str, four: Path, tmp_path: Path) -> None:
    own = trainable.plain(recipe.default(api.architecture(name), api.representative(name).training))
    settings = replace(own, epochs=2, learning_rate=own.learning_rate / 10)
    run = trainable.trainer(name, four, tmp_path, network(name), settings)
    steps = run.steps()
    first = next(steps)
    assert first.losses["loss"] > 0 and run.without_gradient == UNUSED.get(name, 0)
    save_state(run)
    rest = [step.losses for step in steps]
    again = trainable.trainer(name, four, tmp_path, network(name), settings)
    load_state(again)
    assert [step.losses for step in again.steps()] == rest
    path = publish(run.result, meta(run), tmp_path, "published")
    loaded = zoo.load_file(path)
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in run.result.state_dict().items())
