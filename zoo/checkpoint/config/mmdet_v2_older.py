"""Descriptions of MMDetection 2.0 to 2.27 in the vocabulary of 2.28, where an older version said it differently.

The reference accepts most of these with a warning; the rest are what its release notes tell to change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoo.checkpoint.config.mmdet_v3 import decoder, encoder

RENAMED = {"out_size": "output_size", "sample_num": "sampling_ratio", "deformable_groups": "deform_groups"}
"""Arguments of RoI layers and deformable convolutions before MMCV 1.1."""

SUPPRESSIONS = ("nms", "soft_nms", "nms_match")

SSD_NECK = {"type": "SSDNeck", "in_channels": [512, 1024], "l2_norm_scale": 20}
SSD_LEVELS: dict[int, dict[str, Any]] = {
    300: {"level_strides": [2, 2, 1, 1], "level_paddings": [1, 1, 0, 0]},
    512: {"level_strides": [2, 2, 2, 2, 1], "level_paddings": [1, 1, 1, 1, 1], "last_kernel_size": 4},
}
"""Input size -> the extra layers, which were a part of the backbone before 2.14."""


def upgrade(model: Mapping[str, Any]) -> dict[str, Any]:
    """A model of any 2.x version as 2.28 would describe it."""
    result = arguments(model)
    assert isinstance(result, dict)
    if isinstance(result.get("test_cfg"), dict):
        result["test_cfg"] = test_settings(result["test_cfg"])
    if result.get("backbone", {}).get("type") == "SSDVGG":
        result = ssd(result)
    transformer = result.get("bbox_head", {}).get("transformer") if isinstance(result.get("bbox_head"), dict) else None
    if isinstance(transformer, dict) and "num_encoder_layers" in transformer:
        result["bbox_head"] = {**result["bbox_head"], "transformer": detr_transformer(transformer)}
    return result


def arguments(value: Any) -> Any:
    """Renamed arguments, anywhere in the description."""
    if isinstance(value, list):
        return [arguments(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    result = {RENAMED.get(key, key): arguments(item) for key, item in value.items()}
    if result.get("type") in SUPPRESSIONS and "iou_thr" in result:
        result["iou_threshold"] = result.pop("iou_thr")
    if "extra_convs_on_inputs" in result:
        on_inputs = result.pop("extra_convs_on_inputs")
        if result.get("add_extra_convs") is True:
            result["add_extra_convs"] = "on_input" if on_inputs else "on_output"
    return result


def test_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the proposals before 2.9: a threshold and two limits instead of `nms` and `max_per_img`."""
    result = dict(settings)
    if isinstance(result.get("rpn"), dict):
        result["rpn"] = test_settings(result["rpn"])
    if "nms_thr" in result and "nms" not in result:
        result["nms"] = {"type": "nms", "iou_threshold": result.pop("nms_thr")}
        limit = result.pop("max_num", None) or result.get("nms_post")
        result.setdefault("max_per_img", limit)
        for key in ("nms_post", "nms_across_levels", "nms_thr"):
            result.pop(key, None)
    return result


def ssd(model: Mapping[str, Any]) -> dict[str, Any]:
    """SSD before 2.14, whose backbone had the extra layers and the normalized level."""
    backbone = dict(model["backbone"])
    size = backbone.pop("input_size", None)
    scale = backbone.pop("l2_norm_scale", 20)
    if model.get("neck") is not None or size not in SSD_LEVELS:
        return {**model, "backbone": backbone}
    channels = model["bbox_head"]["in_channels"]
    neck = {**SSD_NECK, **SSD_LEVELS[size], "out_channels": list(channels), "l2_norm_scale": scale}
    return {**model, "backbone": backbone, "neck": neck}


def detr_transformer(settings: Mapping[str, Any]) -> dict[str, Any]:
    """DETR before 2.8, whose transformer was described by numbers."""
    size = settings.get("embed_dims", 512)
    attention = {"embed_dims": size, "num_heads": settings.get("num_heads", 8), "dropout": settings.get("dropout", 0.0)}
    feed = {
        "feedforward_channels": settings.get("feedforward_channels", 2048),
        "ffn_drop": settings.get("dropout", 0.0),
    }
    layer = {"self_attn_cfg": attention, "cross_attn_cfg": attention, "ffn_cfg": feed}
    return {
        "type": "Transformer",
        "encoder": encoder({"num_layers": settings["num_encoder_layers"], "layer_cfg": layer}, False),
        "decoder": decoder({"num_layers": settings["num_decoder_layers"], "layer_cfg": layer}, False),
    }
