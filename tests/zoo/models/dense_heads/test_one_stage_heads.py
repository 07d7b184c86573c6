"""What every one-stage head promises, on tiny feature maps."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from zoo.models.build import component
from zoo.models.coders.delta import clip
from zoo.structures import ImageGeometry

CHANNELS, CLASSES, STRIDES = 32, 5, [8, 16]
SIZES = [(12, 16), (6, 8)]
COMMON: dict[str, Any] = {"num_classes": CLASSES, "in_channels": CHANNELS, "feat_channels": CHANNELS}
SQUARE = {"type": "AnchorGenerator", "ratios": [1.0], "octave_base_scale": 8, "scales_per_octave": 1}
SQUARE["strides"] = STRIDES
NINE = {**SQUARE, "ratios": [0.5, 1.0, 2.0], "octave_base_scale": 4, "scales_per_octave": 3}
FOCAL = {"type": "FocalLoss", "use_sigmoid": True}
POINTS = {**COMMON, "strides": STRIDES, "stacked_convs": 2}
ANCHORS = {**COMMON, "anchor_generator": SQUARE, "stacked_convs": 2, "loss_cls": FOCAL}
CFG = {"nms_pre": 100, "score_thr": 0.3, "nms": {"type": "nms", "iou_threshold": 0.6}, "max_per_img": 50}
SSD_ANCHORS = {"type": "SSDAnchorGenerator", "strides": STRIDES, "ratios": [[2], [2, 3]], "scale_major": False}
SSD_ANCHORS |= {"min_sizes": [20, 40], "max_sizes": [40, 80]}
YOLO_ANCHORS = {
    "type": "YOLOAnchorGenerator",
    "strides": STRIDES,
    "base_sizes": [[[10, 13], [30, 20]], [[50, 60], [9, 9]]],
}

HEADS: dict[str, dict[str, Any]] = {
    "retina": {"type": "RetinaHead", **ANCHORS, "anchor_generator": NINE},
    "retina_sepbn": {"type": "RetinaSepBNHead", **ANCHORS, "num_ins": 2, "norm_cfg": {"type": "BN"}},
    "atss": {"type": "ATSSHead", **ANCHORS},
    "paa": {"type": "PAAHead", **ANCHORS},
    "ddod": {"type": "DDODHead", **ANCHORS},
    "gfl": {"type": "GFLHead", **ANCHORS},
    "fsaf": {"type": "FSAFHead", **ANCHORS, "bbox_coder": {"type": "TBLRBBoxCoder", "normalizer": 4.0}},
    "tood": {"type": "TOODHead", **ANCHORS, "num_dcn": 1},
    "tood_anchors": {"type": "TOODHead", **ANCHORS, "anchor_type": "anchor_based"},
    "sabl": {
        "type": "SABLRetinaHead",
        **{k: v for k, v in ANCHORS.items() if k != "anchor_generator"},
        "approx_anchor_generator": NINE,
        "square_anchor_generator": {"type": "AnchorGenerator", "ratios": [1.0], "scales": [4], "strides": STRIDES},
        "bbox_coder": {"type": "BucketingBBoxCoder", "num_buckets": 14, "scale_factor": 3.0},
    },
    "fcos": {"type": "FCOSHead", **POINTS},
    "fcos_norm": {"type": "FCOSHead", **POINTS, "norm_on_bbox": True, "centerness_on_reg": True},
    "fovea": {"type": "FoveaHead", **POINTS, "base_edge_list": [16, 32]},
    "fovea_align": {"type": "FoveaHead", **POINTS, "base_edge_list": [16, 32], "with_deform": True},
    "autoassign": {"type": "AutoAssignHead", **POINTS},
    "vfnet": {
        "type": "VFNetHead",
        **POINTS,
        "regress_ranges": [[-1, 64], [64, 1e8]],
        "anchor_generator": {**SQUARE, "center_offset": 0.0},
    },
    "reppoints": {
        "type": "RepPointsHead",
        **COMMON,
        "stacked_convs": 2,
        "point_strides": STRIDES,
        "point_feat_channels": CHANNELS,
    },
    "reppoints_grid": {
        "type": "RepPointsHead",
        **COMMON,
        "point_strides": STRIDES,
        "use_grid_points": True,
        "transform_method": "minmax",
    },
    "ssd": {"type": "SSDHead", "num_classes": CLASSES, "in_channels": [CHANNELS] * 2, "anchor_generator": SSD_ANCHORS},
    "yolov3": {
        "type": "YOLOV3Head",
        "num_classes": CLASSES,
        "in_channels": [CHANNELS] * 2,
        "out_channels": [CHANNELS] * 2,
        "anchor_generator": YOLO_ANCHORS,
        "bbox_coder": {"type": "YOLOBBoxCoder"},
        "featmap_strides": STRIDES,
    },
}
# Reference behavior: these two do not clip to the image.
UNCLIPPED = {"yolov3", "tood", "tood_anchors"}


def make(name: str, **changes: Any) -> torch.nn.Module:
    """A head with random weights, large enough that there is something to detect."""
    torch.manual_seed(0)
    head = component(HEADS[name], test_cfg={**CFG, **changes}).eval()
    for key, parameter in head.named_parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.08)
        elif key.endswith("bias"):
            torch.nn.init.zeros_(parameter)
    return head


def features(images: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(images, CHANNELS, *size, generator=generator) for size in SIZES]


@torch.inference_mode()
def detections(head: torch.nn.Module, maps: list[torch.Tensor], geometries: list[ImageGeometry]):
    return head.predict(head(maps), geometries)


@pytest.mark.parametrize("name", HEADS)
def test_two_images_together_are_two_images_alone(name):
    head, maps = make(name), features(2)
    geometries = [ImageGeometry.of_input((96, 128)), ImageGeometry.of_input((80, 100))]
    together = detections(head, maps, geometries)
    assert sum(map(len, together)) > 0
    for i, geometry in enumerate(geometries):
        (alone,) = detections(head, [x[i : i + 1] for x in maps], [geometry])
        torch.testing.assert_close(together[i].boxes, alone.boxes, rtol=1e-3, atol=1e-2)
        torch.testing.assert_close(together[i].scores, alone.scores, rtol=1e-3, atol=1e-4)
        assert (together[i].labels == alone.labels).all()


@pytest.mark.parametrize("name", HEADS)
def test_detections_are_ordered_limited_and_inside_the_image(name):
    geometry = ImageGeometry.of_input((80, 100))
    (result,) = detections(make(name, max_per_img=7), features(1), [geometry])
    assert 0 < len(result) <= 7
    assert (result.scores.diff() <= 0).all()
    assert ((result.labels >= 0) & (result.labels < CLASSES)).all()
    if name not in UNCLIPPED and name != "paa":  # votes are sums of clipped boxes, up to rounding
        torch.testing.assert_close(clip(result.boxes, geometry.size), result.boxes)


@pytest.mark.parametrize("name", HEADS)
def test_nothing_above_the_threshold_is_no_detection(name):
    (result,) = detections(make(name, score_thr=1.1), features(1), [ImageGeometry.of_input((80, 100))])
    assert result.boxes.shape == (0, 4) and len(result.scores) == len(result.labels) == 0


def test_a_center_in_the_heatmap_becomes_a_box_of_the_regressed_size():
    head = component(
        {"type": "CenterNetHead", "in_channel": 8, "feat_channel": 8, "num_classes": 2},
        test_cfg={"topk": 3, "local_maximum_kernel": 3},
    )
    heat, sizes, offsets = torch.zeros(1, 2, 8, 10), torch.zeros(1, 2, 8, 10), torch.zeros(1, 2, 8, 10)
    heat[0, 1, 3, 5], sizes[0, :, 3, 5], offsets[0, :, 3, 5] = 0.9, torch.tensor([4.0, 2.0]), torch.tensor([0.5, 0.25])
    (detections,) = head.predict(([heat], [sizes], [offsets]), [ImageGeometry.of_input((32, 40))], (32, 40))
    assert detections.labels[0] == 1 and detections.scores[0] == pytest.approx(0.9)
    assert detections.boxes[0].tolist() == [(5.5 - 2) * 4, (3.25 - 1) * 4, (5.5 + 2) * 4, (3.25 + 1) * 4]
