"""What every two-stage detector promises, on narrow networks with the published heads."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import zoo
from zoo.manifest import api
from zoo.structures import ImageGeometry

NARROW = {256: 32, 1024: 32, 128: 32, 2048: 64, 64: 8, 80: 5, 183: 9, 53: 4, 1203: 7, 300: 10, 100: 10}
BACKBONE = {"type": "ResNet", "depth": 18, "base_channels": 8, "norm_eval": True}
ARCHITECTURES = (
    "cascade_mask_rcnn_r50_fpn_1x_coco",
    "crpn_faster_rcnn_r50_caffe_fpn_1x_coco",
    "detectron2/keypoint_rcnn_R_50_FPN",
    "detectron2/panoptic_fpn_R_50",
    "dh_faster_rcnn_r50_fpn_1x_coco",
    "faster_rcnn_r50_fpg_crop640_50e_coco",
    "faster_rcnn_r50_fpn_mdpool_1x_coco",
    "ga_faster_r50_caffe_fpn_1x_coco",
    "grid_rcnn_r50_fpn_gn-head_2x_coco",
    "htc_r50_fpn_1x_coco",
    "libra_faster_rcnn_r50_fpn_1x_coco",
    "mask_rcnn_r50_fpn_carafe_1x_coco",
    "mask_rcnn_r50_fpn_groie_1x_coco",
    "mask_rcnn_r50_fpn_random_seesaw_loss_normed_mask_mstrain_2x_lvis_v1",
    "ms_rcnn_r50_caffe_fpn_1x_coco",
    "panoptic_fpn_r50_fpn_1x_coco",
    "point_rend_r50_caffe_fpn_mstrain_1x_coco",
    "sabl_cascade_rcnn_r50_fpn_1x_coco",
    "scnet_r50_fpn_1x_coco",
)
HEIGHT, WIDTH = 128, 192


def narrow(value: Any) -> Any:
    """A description with few channels and classes."""
    if isinstance(value, dict):
        return {k: BACKBONE if k == "backbone" else narrow(v) for k, v in value.items() if k != "train_cfg"}
    if value == [256, 512, 1024, 2048]:
        return [8, 16, 32, 64]
    if isinstance(value, (list, tuple)):
        return [narrow(v) if isinstance(v, dict) else v for v in value]
    return NARROW.get(value, value) if type(value) is int else value


def build(name: str) -> Any:
    """The narrow network; few proposals, and scores that are far from uniform."""
    torch.manual_seed(0)
    description = narrow(dict(api.architecture(name)))
    description["test_cfg"]["rpn"].update(nms_pre=100, max_per_img=40)
    description["test_cfg"].get("panoptic", {})["score_thr"] = 0.2
    model = zoo.build(description)
    for module in model.roi_head.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
    return model


@pytest.mark.parametrize("name", ARCHITECTURES)
@torch.inference_mode()
def test_two_images_at_once_are_detected_like_one_by_one(name: str) -> None:
    model, images, sizes = build(name), torch.randn(2, 3, HEIGHT, WIDTH), [(HEIGHT, WIDTH), (100, 150)]
    together = model(images, sizes)
    for i, (size, result) in enumerate(zip(sizes, together)):
        alone = model(images[i : i + 1], [size])[0]
        assert len(result) == len(alone)
        torch.testing.assert_close(result.scores, alone.scores, atol=1e-4, rtol=1e-3)
        padding = result.panoptic is not None and not name.startswith("detectron2/")  # MMDetection's maps cover it
        covered = (HEIGHT, WIDTH) if padding else size
        if result.masks is not None:
            assert result.masks.shape == (len(result), *covered)
        if result.panoptic is not None:
            assert result.panoptic.shape == covered


@pytest.mark.parametrize("name", ARCHITECTURES)
@torch.inference_mode()
def test_results_come_in_the_images_own_size(name: str) -> None:
    model, images = build(name), torch.randn(1, 3, HEIGHT, WIDTH)
    (inside,) = model(images, [(100, 150)])
    (detections,) = model.predict(images, [ImageGeometry((100, 150), (200, 450), (1 / 3, 0.5))])
    if detections.panoptic is not None:
        assert detections.panoptic.shape == (200, 450)
    torch.testing.assert_close(detections.scores, inside.scores)
    torch.testing.assert_close(detections.boxes, inside.boxes * torch.tensor([3.0, 2, 3, 2]))
    if detections.masks is not None:
        assert detections.masks.shape == (len(detections), 200, 450)
        area, expected = detections.masks.sum(dim=(1, 2)), inside.masks.sum(dim=(1, 2)) * 6
        assert ((area - expected).abs() <= 0.2 * expected + 60).float().mean() > 0.8


@pytest.mark.parametrize("name", ARCHITECTURES)
@torch.inference_mode()
def test_networks_of_half_precision_give_results_of_full_precision(name: str) -> None:
    model = build(name).bfloat16()
    (result,) = model(torch.randn(1, 3, HEIGHT, WIDTH, dtype=torch.bfloat16))
    assert len(result) > 0
    assert result.boxes.dtype == result.scores.dtype == torch.float32


@pytest.mark.parametrize("name", ARCHITECTURES)
@torch.inference_mode()
def test_no_proposals_are_no_detections(name: str) -> None:
    model = build(name)
    features = model.features(torch.randn(2, 3, HEIGHT, WIDTH))
    geometries = [ImageGeometry.of_input((HEIGHT, WIDTH))] * 2
    for detections in model.roi_head.predict(features, [torch.zeros(0, 4)] * 2, geometries):
        assert len(detections) == len(detections.boxes) == len(detections.labels) == 0
        assert detections.masks is None or detections.masks.shape == (0, HEIGHT, WIDTH)
