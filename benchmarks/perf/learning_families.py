"""The small networks of `benchmarks.perf.learning`: published architectures, what is smaller in them, and recipes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from zoo.manifest import api
from zoo.training.dataset import Augmentation
from zoo.training.recipe import Recipe

Description = dict[str, Any]
RESNET = {
    "type": "ResNet",
    "depth": 18,
    "base_channels": 16,
    "out_indices": [0, 1, 2, 3],
    "norm_cfg": {"type": "BN"},
    "norm_eval": False,
}
STAGES, WIDTH = [16, 32, 64, 128], 48
NECK = {"in_channels": STAGES, "out_channels": WIDTH, "norm_cfg": {"type": "BN", "requires_grad": True}}
GN = {"type": "GN", "num_groups": 8, "requires_grad": True}
DENSE = {"in_channels": WIDTH, "feat_channels": WIDTH, "stacked_convs": 2, "norm_cfg": GN}
REGIONS = {"out_channels": WIDTH, "finest_scale": 16}
SHAPES = Augmentation(scales=((144, 104), (208, 168)), mode="range")
RECIPE = Recipe(
    optimizer="AdamW",
    learning_rate=0.002,
    batch=8,
    weight_decay=0.02,
    decay="cosine",
    warmup=100,
    clip=10.0,
    epochs=16,
    augmentation=SHAPES,
)


@dataclass(frozen=True)
class Family:
    """base: the published architecture; changes: what is smaller. floor: the box AP (of masks where there are no boxes
    to learn from) to reach, from 0 to 1: about two thirds of what was measured."""

    base: str
    floor: float
    changes: Mapping[str, Any] = field(default_factory=dict)
    preprocessing: str = "demo_atss"
    recipe: Recipe = RECIPE
    metric: str = "bbox_mAP"


def regions(kind: str, classes: Mapping[str, Any]) -> Description:
    """Changes of a two-stage detector of a kind. classes: those of its box heads."""
    rcnn = api.architecture(f"{kind}_r50_fpn_1x_coco")["train_cfg"]["rcnn"]
    return {
        "backbone": RESNET,
        "neck": NECK,
        "rpn_head": {"in_channels": WIDTH, "feat_channels": WIDTH, "anchor_generator": {"scales": [4]}},
        "roi_head": {"bbox_roi_extractor": REGIONS, **classes},
        "train_cfg": {
            "rpn": {"sampler": {"num": 64}},
            "rpn_proposal": {"nms_pre": 400, "max_per_img": 200},
            "rcnn": sampled(rcnn),
        },
        "test_cfg": {"rpn": {"nms_pre": 300, "max_per_img": 100}},
    }


def sampled(rcnn: Any) -> Any:
    """Settings of a second stage, or of several, that learns from few regions of each image."""
    if isinstance(rcnn, (list, tuple)):
        return [sampled(stage) for stage in rcnn]
    return {**rcnn, "sampler": {**rcnn["sampler"], "num": 64}}


def cascade() -> Description:
    """Changes of a cascade: three narrow heads."""
    heads = api.architecture("cascade_rcnn_r50_fpn_1x_coco")["roi_head"]["bbox_head"]
    return {"bbox_head": [{**head, "in_channels": WIDTH, "fc_out_channels": 96} for head in heads]}


def transformer(name: str) -> Description:
    """Changes of Deformable DETR: fewer layers, queries and channels."""
    head = api.architecture(name)["bbox_head"]
    layers = head["transformer"]
    attention = {"type": "MultiScaleDeformableAttention", "embed_dims": 64, "num_heads": 4}
    own = {"type": "MultiheadAttention", "embed_dims": 64, "num_heads": 4, "dropout": 0.0}
    block = {"feedforward_channels": 128, "ffn_dropout": 0.0}
    encoder = {**layers["encoder"]["transformerlayers"], **block, "attn_cfgs": attention}
    decoder = {**layers["decoder"]["transformerlayers"], **block, "attn_cfgs": [own, attention]}
    small = {
        "encoder": {"num_layers": 2, "transformerlayers": encoder},
        "decoder": {"num_layers": 3, "transformerlayers": decoder},
    }
    return {
        "backbone": RESNET | {"out_indices": [1, 2, 3]},
        "neck": {"in_channels": STAGES[1:], "out_channels": 64, "norm_cfg": GN},
        "bbox_head": {
            "num_query": 40,
            "in_channels": 128,
            "transformer": small,
            "positional_encoding": {"num_feats": 32},
        },
    }


def queries() -> Description:
    """Changes of Mask2Former: fewer layers, queries and channels."""
    head = api.architecture("mask2former_r50_lsj_8x2_50e_coco")["panoptic_head"]
    encoder = head["pixel_decoder"]["encoder"]["transformerlayers"]
    attention = {**encoder["attn_cfgs"], "embed_dims": 64, "num_heads": 4}
    decoder = head["transformer_decoder"]["transformerlayers"]
    return {
        "backbone": RESNET,
        "panoptic_head": {
            "in_channels": STAGES,
            "feat_channels": 64,
            "out_channels": 64,
            "num_queries": 30,
            "pixel_decoder": {
                "norm_cfg": GN,
                "encoder": {
                    "num_layers": 2,
                    "transformerlayers": {
                        "attn_cfgs": attention,
                        "ffn_cfgs": {**encoder["ffn_cfgs"], "embed_dims": 64, "feedforward_channels": 128},
                    },
                },
                "positional_encoding": {"num_feats": 32},
            },
            "positional_encoding": {"num_feats": 32},
            "transformer_decoder": {
                "num_layers": 3,
                "transformerlayers": {
                    "attn_cfgs": {**decoder["attn_cfgs"], "embed_dims": 64, "num_heads": 4},
                    "ffn_cfgs": {**decoder["ffn_cfgs"], "embed_dims": 64, "feedforward_channels": 128},
                    "feedforward_channels": 128,
                },
            },
        },
        "train_cfg": {"num_points": 1024},
    }


ANCHORS = {"octave_base_scale": 2}
TRANSFORMERS = replace(RECIPE, learning_rate=0.001, weight_decay=0.0001, clip=0.1, epochs=16)
FEW_IMAGES = replace(RECIPE, learning_rate=0.0015, batch=4, epochs=20)  # more steps in the same time
BOXES = {"bbox_head": {"in_channels": WIDTH, "fc_out_channels": 96}}
MASKS = {
    **BOXES,
    "mask_roi_extractor": REGIONS,
    "mask_head": {"num_convs": 2, "in_channels": WIDTH, "conv_out_channels": 32},
}
PYRAMID = {"backbone": RESNET, "neck": NECK}
MOBILE = {"widen_factor": 0.5}


def dense() -> dict[str, Family]:
    """Single-stage detectors on a feature pyramid."""
    return {
        "retinanet": Family(
            "retinanet_r50_fpn_1x_coco", 0.12, {**PYRAMID, "bbox_head": {**DENSE, "anchor_generator": ANCHORS}}
        ),
        "fcos": Family(
            "fcos_center-normbbox-centeronreg-giou_r50_caffe_fpn_gn-head_1x_coco",
            0.15,
            {
                **PYRAMID,
                "bbox_head": {**DENSE, "regress_ranges": [[-1, 32], [32, 64], [64, 128], [128, 256], [256, 1e8]]},
            },
        ),
        "atss": Family("demo_atss", 0.12, recipe=replace(RECIPE, epochs=10)),
        "yolox": Family(
            "demo_yolox",
            0.14,
            preprocessing="demo_yolox",
            recipe=replace(RECIPE, epochs=24, ema=0.002, augmentation=Augmentation(mosaic=True, plain_epochs=8)),
        ),
    }


def mobile() -> dict[str, Family]:
    """Single-stage detectors on MobileNetV2."""
    return {
        "yolov3": Family(
            "yolov3_mobilenetv2_320_300e_coco",
            0.07,
            {
                "backbone": MOBILE,
                "neck": {"in_channels": [160, 48, 16]},
                "bbox_head": {
                    "anchor_generator": {
                        "base_sizes": [
                            [[80, 80], [60, 90], [90, 60]],
                            [[50, 50], [40, 60], [60, 40]],
                            [[30, 30], [20, 30], [30, 20]],
                        ]
                    }
                },
            },
            recipe=replace(FEW_IMAGES, epochs=5),
        ),
        "ssd": Family(
            "ssdlite_mobilenetv2_scratch_600e_coco",
            0.04,
            {
                "backbone": {"widen_factor": 0.5, "out_indices": [2, 4]},
                "neck": {"in_channels": [16, 48], "out_channels": [16, 48, 48, 48, 48, 48]},
                "bbox_head": {
                    "in_channels": [16, 48, 48, 48, 48, 48],
                    "anchor_generator": {
                        "strides": [8, 16, 32, 54, 80, 160],
                        "min_sizes": [16, 32, 48, 72, 96, 128],
                        "max_sizes": [32, 48, 72, 96, 128, 160],
                    },
                },
            },
            preprocessing="demo_yolox",
            recipe=replace(RECIPE, epochs=11, augmentation=Augmentation()),
        ),
    }


def two_stage() -> dict[str, Family]:
    """Detectors of regions."""
    return {
        "faster_rcnn": Family("faster_rcnn_r50_fpn_1x_coco", 0.11, regions("faster_rcnn", BOXES), recipe=FEW_IMAGES),
        "mask_rcnn": Family(
            "mask_rcnn_r50_fpn_1x_coco",
            0.1,
            regions("mask_rcnn", MASKS),
            recipe=replace(FEW_IMAGES, epochs=16),
        ),
        "cascade_rcnn": Family(
            "cascade_rcnn_r50_fpn_1x_coco",
            0.21,
            regions("cascade_rcnn", cascade()),
            recipe=replace(FEW_IMAGES, epochs=14),
        ),
    }


def of_queries_and_grids() -> dict[str, Family]:
    """Transformers, and masks on grids."""
    return {
        "deformable_detr": Family(
            "deformable_detr_twostage_refine_r50_16x2_50e_coco",
            0.09,
            transformer("deformable_detr_twostage_refine_r50_16x2_50e_coco"),
            recipe=TRANSFORMERS,
        ),
        "solo": Family(
            "solo_r50_fpn_3x_coco",
            0.035,
            {
                **PYRAMID,
                "mask_head": {
                    "in_channels": WIDTH,
                    "feat_channels": WIDTH,
                    "stacked_convs": 3,
                    "norm_cfg": GN,
                    "num_grids": [20, 18, 12, 8, 6],
                    "scale_ranges": [[1, 32], [24, 64], [48, 96], [72, 128], [112, 2048]],
                },
            },
            recipe=replace(FEW_IMAGES, epochs=22),
            metric="segm_mAP",
        ),
        "mask2former": Family(
            "mask2former_r50_lsj_8x2_50e_coco", 0.055, queries(), recipe=TRANSFORMERS, metric="segm_mAP"
        ),
    }


def families() -> dict[str, Family]:
    """Every family by name."""
    return dense() | mobile() | two_stage() | of_queries_and_grids()
