"""A torchvision network and ours with its weights compute the same, up to the order of classes."""

from __future__ import annotations

import pytest
import torch
from torchvision.models import detection
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import keypointrcnn_inference

import zoo
from zoo.checkpoint import Checkpoint, load_into
from zoo.checkpoint.convert.reorder import COCO_ROWS
from zoo.manifest import api
from zoo.models.roi_heads.extractor import rois_of
from zoo.structures import Detections, ImageGeometry


@pytest.fixture(autouse=True)
def quiet():
    torch.manual_seed(0)
    with torch.no_grad():
        yield


def theirs(name):
    """A network with weights of a size that neither vanish nor explode; its own initialization would take longer."""
    with torch.device("meta"):
        network = getattr(detection, name)(weights=None, weights_backbone=None).eval()
    network.to_empty(device="cpu")
    for key, tensor in network.state_dict().items():
        if tensor.dim() > 1:
            tensor.normal_(std=tensor[0].numel() ** -0.5)
        else:
            tensor.fill_(1 if key.endswith(("weight", "running_var")) else 0)
    return network


def ours(description, source):
    network = zoo.build(description)
    assert load_into(network, Checkpoint(source.state_dict())) == ["torchvision"]
    return network


def close(left, right):
    torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-4)


def flat(levels, width):
    """(N, A * width, H, W) per level -> (N, all anchors, width)."""
    return torch.cat([level.permute(0, 2, 3, 1).reshape(len(level), -1, width) for level in levels], 1)


def test_mask_rcnn():
    source = theirs("maskrcnn_resnet50_fpn")
    network = ours("mask_rcnn_r50_fpn_1x_coco", source)
    image, pooled, masks = torch.randn(1, 3, 64, 96), torch.randn(2, 256, 7, 7), torch.randn(2, 256, 14, 14)
    levels = network.neck(network.backbone(image))
    for left, right in zip(levels, source.backbone(image).values()):
        close(left, right)
    for left, right in zip(network.rpn_head(levels), source.rpn.head(list(levels))):
        close(list(left), list(right))
    scores, boxes = source.roi_heads.box_predictor(source.roi_heads.box_head(pooled))
    result = network.roi_head.bbox_head(pooled)
    close(result[0], scores[:, [*COCO_ROWS, 0]])
    close(result[1], boxes.reshape(2, 91, 4)[:, COCO_ROWS].reshape(2, -1))
    logits = source.roi_heads.mask_predictor(source.roi_heads.mask_head(masks))
    close(network.roi_head.mask_head(masks), logits[:, COCO_ROWS])


def test_keypoint_rcnn():
    source = theirs("keypointrcnn_resnet50_fpn")
    for key, tensor in source.state_dict().items():
        if "keypoint" in key:
            tensor.mul_(3)  # heatmaps with one clear maximum each
    network = ours("torchvision/keypointrcnn_resnet50_fpn_legacy", source)
    levels = [torch.randn(1, 256, size, size) for size in (64, 32, 16, 8)]
    boxes = torch.tensor([[10.0, 20.0, 90.5, 200.25], [0.0, 3.0, 0.5, 3.25], [40.0, 30.0, 240.0, 250.0]])
    detections = Detections(boxes, torch.ones(3), torch.zeros(3, dtype=torch.long))
    network.roi_head.predict_keypoints(levels, [detections])
    names = dict(zip("0123", levels))
    regions = source.roi_heads.keypoint_roi_pool(names, [boxes], [(256, 256)])
    logits = source.roi_heads.keypoint_predictor(source.roi_heads.keypoint_head(regions))
    (points,), (scores,) = keypointrcnn_inference(logits, [boxes])
    close(detections.keypoints[..., :2], points[..., :2])
    close(detections.keypoints[..., 2], scores)


def test_retinanet():
    source = theirs("retinanet_resnet50_fpn")
    description = api.architecture("retinanet_r50_fpn_1x_coco")
    description["neck"] |= {"add_extra_convs": "on_output", "relu_before_extra_convs": True}
    network = ours(description, source)
    image = torch.randn(1, 3, 64, 96)
    levels = network.neck(network.backbone(image))
    expected = source.head(list(source.backbone(image).values()))
    logits, deltas = network.bbox_head(levels)[:2]
    close(flat(logits, 80), expected["cls_logits"][..., COCO_ROWS])
    close(flat(deltas, 4), expected["bbox_regression"])


def test_ssd():
    source = theirs("ssd300_vgg16")
    network = ours("ssd300_coco", source)
    image = torch.randn(1, 3, 300, 300)
    expected = source.head(list(source.backbone(image).values()))
    logits, deltas = network.bbox_head(network.neck(network.backbone(image)))[:2]
    close(flat(logits, 81), expected["cls_logits"][..., [*COCO_ROWS, 0]])
    close(flat(deltas, 4), expected["bbox_regression"])


@pytest.mark.parametrize("name", ["fasterrcnn_mobilenet_v3_large_fpn", "fasterrcnn_mobilenet_v3_large_320_fpn"])
def test_faster_rcnn_with_mobilenet_v3(name):
    source = theirs(name)
    for key, tensor in source.state_dict().items():
        if key.startswith("rpn.head.cls_logits.weight"):
            tensor.mul_(4)  # some objectnesses below the threshold of 0.05
    network = ours(f"torchvision/{name}", source)
    image = torch.randn(1, 3, 320, 416)
    features = source.backbone(image)
    levels = network.neck(network.backbone(image))
    for left, right in zip(levels, features.values(), strict=True):
        close(left, right)
    (expected,), _ = source.rpn(ImageList(image, [(320, 416)]), features)
    (proposals,) = network.rpn_head.predict(network.rpn_head(levels), [ImageGeometry.of_input((320, 416))])
    assert len(expected) > 0 and len(proposals) == len(expected)
    nearest = torch.cdist(expected, proposals.boxes, p=torch.inf).min(1).values  # almost equal scores change places
    assert nearest.max() < 0.01
    pooled = source.roi_heads.box_roi_pool(features, [expected], [(320, 416)])
    scores, _ = source.roi_heads.box_predictor(source.roi_heads.box_head(pooled))
    logits, _ = network.roi_head.box_outputs(levels, rois_of([expected]))
    close(logits, scores[:, [*COCO_ROWS, 0]])
