"""Who has the same detector under which name, and what they published about its speed."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass

from benchmarks.speed.peers.names import PEERS, RUNTIMES
from zoo.errors import UnknownModel, UsageError, ZooError
from zoo.manifest import api

# A model of ours -> torchvision's builder of the same network.
TORCHVISION = {
    "faster_rcnn_r50_fpn_1x_coco": "fasterrcnn_resnet50_fpn",
    "mask_rcnn_r50_fpn_1x_coco": "maskrcnn_resnet50_fpn",
    "retinanet_r50_fpn_1x_coco": "retinanet_resnet50_fpn",
    "ssd300_coco": "ssd300_vgg16",
}
# The type of a network of ours -> transformers' class.
TRANSFORMERS = {
    "DETR": "DetrForObjectDetection",
    "DeformableDETR": "DeformableDetrForObjectDetection",
    "ConditionalDETR": "ConditionalDetrForObjectDetection",
    "DABDETR": "DabDetrForObjectDetection",
    "MaskFormer": "MaskFormerForInstanceSegmentation",
    "Mask2Former": "Mask2FormerForUniversalSegmentation",
}
# An architecture of ours -> Detectron2's model of the same network; what it does differently is in its manifest.
DETECTRON2 = {
    "cascade_mask_rcnn_r50_caffe_fpn_1x_coco": "cascade_mask_rcnn_R_50_FPN_1x",
    "fast_rcnn_r50_caffe_fpn_1x_coco": "fast_rcnn_R_50_FPN_1x",
    "faster_rcnn_r50_caffe_c4_1x_coco": "faster_rcnn_R_50_C4_1x",
    "faster_rcnn_r50_caffe_dc5_1x_coco": "faster_rcnn_R_50_DC5_1x",
    "faster_rcnn_r50_caffe_fpn_1x_coco": "faster_rcnn_R_50_FPN_1x",
    "faster_rcnn_r101_caffe_fpn_1x_coco": "faster_rcnn_R_101_FPN_3x",
    "faster_rcnn_x101_32x8d_fpn_mstrain_3x_coco": "faster_rcnn_X_101_32x8d_FPN_3x",
    "mask_rcnn_r50_caffe_fpn_1x_coco": "mask_rcnn_R_50_FPN_1x",
    "mask_rcnn_r50_fpn_dconv_c3-c5_1x_coco": "mask_rcnn_R_50_FPN_1x_dconv_c3-c5",
    "mask_rcnn_r50_fpn_gn-all_2x_coco": "mask_rcnn_R_50_FPN_3x_gn",
    "mask_rcnn_r101_caffe_fpn_1x_coco": "mask_rcnn_R_101_FPN_3x",
    "mask_rcnn_x101_32x8d_fpn_1x_coco": "mask_rcnn_X_101_32x8d_FPN_3x",
    "retinanet_r50_caffe_fpn_1x_coco": "retinanet_R_50_FPN_1x",
    "retinanet_r101_caffe_fpn_1x_coco": "retinanet_R_101_FPN_3x",
    "rpn_r50_caffe_c4_1x_coco": "rpn_R_50_C4_1x",
    "rpn_r50_caffe_fpn_1x_coco": "rpn_R_50_FPN_1x",
}


class NoCounterpart(ZooError):
    """The peer has no such detector."""


@dataclass(frozen=True)
class Published:
    """A speed that somebody published. source: who and where."""

    fps: float
    hardware: str
    source: str


def counterpart(name: str, peer: str) -> str:
    """What `peer` calls a model or architecture. Raises UsageError: no such peer; NoCounterpart: not this detector."""
    if peer not in PEERS:
        raise UsageError(f"No peer '{peer}'. There are: {', '.join(PEERS)}.")
    if peer == "mmdet":
        return configuration(name)
    if peer in RUNTIMES:
        return api.architecture_name(name)
    if peer == "transformers":
        return in_transformers(name)
    if peer == "detectron2":
        return (in_detectron2(name).config or "").removeprefix("configs/").removesuffix(".yaml")
    architecture = api.architecture_name(name)
    if architecture.startswith("torchvision/"):
        return architecture.removeprefix("torchvision/")
    same = [builder for model, builder in TORCHVISION.items() if api.architecture_name(model) == architecture]
    if not same:
        raise NoCounterpart(f"torchvision has no counterpart of {name}.")
    return same[0]


def in_transformers(name: str) -> str:
    """The class of the same network there; panoptic maps have no measure of agreement here."""
    architecture = api.architecture(name)
    kind = TRANSFORMERS.get(str(architecture.get("type")))
    if kind is None:
        raise NoCounterpart(f"transformers has no counterpart of {name}.")
    if kind.endswith("Segmentation") and not architecture.get("test_cfg", {}).get("instance_on"):
        raise NoCounterpart(f"no counterpart of {name} is compared: it gives panoptic maps, no detections.")
    return kind


def in_detectron2(name: str) -> api.Entry:
    """The entry of Detectron2's zoo with the same network; its ResNets are in caffe style, whatever ours is."""
    ours = api.representative(name)
    if ours.origin == "detectron2":
        return ours
    for variant in (ours.name, re.sub(r"_(r\d+)_fpn", r"_\1_caffe_fpn", ours.name)):
        with suppress(UnknownModel, KeyError):
            return api.get("detectron2/" + DETECTRON2[api.architecture_name(variant)])
    raise NoCounterpart(f"Detectron2 has no counterpart of {name}.")


def in_mmdetection(name: str) -> api.Entry:
    """The entry of MMDetection's zoo with the same network; a model of the user's own is its own counterpart."""
    entry = api.representative(name)
    tables = {"detectron2": DETECTRON2, "torchvision": TORCHVISION}
    if entry.origin not in tables:
        return entry
    for ours, theirs in tables[entry.origin].items():
        if api.architecture_name(f"{entry.origin}/{theirs}") == entry.architecture:
            return api.representative(ours)
    raise NoCounterpart(f"MMDetection has no counterpart of {name}.")


def configuration(name: str) -> str:
    """The reference's configuration file of a model or architecture."""
    config = in_mmdetection(name).config
    if config is None:
        raise NoCounterpart(f"the manifests name no configuration of MMDetection for {name}.")
    return config


def published(name: str, peer: str) -> Published | None:
    """The speed that `peer` published for its counterpart of `name`; None where it published none."""
    try:
        if peer == "mmdet":
            entry = in_mmdetection(name)
            source = f"MMDetection's zoo, {entry.name}"
        elif peer == "detectron2":
            entry = in_detectron2(name)
            source = f"Detectron2's zoo, {entry.name.removeprefix('detectron2/')}"
        else:
            return None
    except NoCounterpart:
        return None
    if not entry.speed:
        return None
    return Published(entry.speed[0].fps, entry.speed[0].hardware or "hardware not stated", source)
