"""Descriptions of MMDetection 3.x in the vocabulary of 2.x, where the difference is one of names.

3.x kept most components under their names and with their arguments. It moved normalization into the model
(`data_preprocessor`), may name the package of a component (`mmdet.ResNet`), and took the transformers of query-based
detectors apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PACKAGES = {"mmpretrain": "mmpretrain.", "mmcls": "mmcls."}
"""Packages whose components are named with a prefix; others are MMDetection's own."""

LAYERS = {
    "BatchNorm1d": "BN1d",
    "BatchNorm2d": "BN",
    "ConvTranspose2d": "deconv",
    "GroupNorm": "GN",
    "InstanceNorm2d": "IN",
    "LayerNorm": "LN",
    "SyncBatchNorm": "SyncBN",
}
"""PyTorch's classes, which configurations written as Python modules import, and the names that layers go by."""

EARLY = {
    "num_query": "num_queries",
    "encoder_cfg": "encoder",
    "decoder_cfg": "decoder",
    "positional_encoding_cfg": "positional_encoding",
}
"""Names of the release candidates of 3.0."""

ARGUMENTS = {
    "CTResNetNeck": {"in_channels": "in_channel"},
    "CenterNetHead": {"in_channels": "in_channel", "feat_channels": "feat_channel"},
}
"""Type -> arguments that 2.x calls differently."""

LOADERS = ("train_dataloader", "test_dataloader", "default_scope")

IGNORED = {"data_preprocessor", "init_cfg", "pretrained", "_scope_", "batch_augments", "use_syncbn", "seg_scale_factor"}
"""Keys that say nothing about the network at test time."""


def is_v3(config: Mapping[str, Any]) -> bool:
    """Whether a configuration is written for 3.x."""
    model = config.get("model")
    return any(key in config for key in LOADERS) or (isinstance(model, dict) and "data_preprocessor" in model)


def to_v2(model: Mapping[str, Any]) -> dict[str, Any]:
    """A model of 3.x as 2.x would describe it. Unknown types stay, and are `zoo.build`'s to refuse."""
    plain = rename(model)
    assert isinstance(plain, dict)
    if plain.get("type") in ("DETR", "DeformableDETR"):
        return detr(current(plain))
    if plain.get("type") in ("MaskFormer", "Mask2Former"):
        plain["panoptic_head"] = panoptic_head(current(plain["panoptic_head"]))
    if plain.get("type") == "YOLACT" and "segm_head" not in plain:
        return yolact(plain)
    return with_extent(plain)


def with_extent(model: Mapping[str, Any]) -> dict[str, Any]:
    """A dense detector that leaves boxes below `min_bbox_size` out, which only 3.x does."""
    settings = model.get("test_cfg")
    if not isinstance(settings, dict) or "bbox_head" not in model:
        return dict(model)
    least = settings.get("min_bbox_size")
    counts = isinstance(least, (int, float)) and least >= 0
    return {**model, "test_cfg": {**settings, "min_side": least}} if counts else dict(model)


def yolact(model: Mapping[str, Any]) -> dict[str, Any]:
    """YOLACT: the semantic branch, which only training uses, is a head of its own in 2.x."""
    mask_head = {key: item for key, item in model["mask_head"].items() if key not in ("with_seg_branch", "loss_segm")}
    segm_head = {"type": "YOLACTSegmHead", "num_classes": mask_head["num_classes"], "in_channels": 256}
    present = model["mask_head"].get("with_seg_branch", True)
    return {**model, "mask_head": mask_head, "segm_head": segm_head if present else None}


def current(part: Mapping[str, Any]) -> dict[str, Any]:
    """A part of a query-based detector without the names of the release candidates."""
    return {EARLY.get(key, key): value for key, value in part.items()}


def rename(value: Any) -> Any:
    """Types without their package, and without keys that do not matter."""
    if isinstance(value, Mapping):
        result = {key: rename(item) for key, item in value.items() if key not in IGNORED}
        if isinstance(result.get("type"), str):
            result["type"] = short(result["type"])
            renamed = ARGUMENTS.get(result["type"], {})
            result = {renamed.get(key, key): item for key, item in result.items()}
        return result
    return [rename(item) for item in value] if isinstance(value, (list, tuple)) else value


def short(kind: str) -> str:
    """`mmdet.FasterRCNN` and `mmdet.models.detectors.FasterRCNN` are `FasterRCNN`; `mmpretrain.X` keeps its package."""
    package, _, _ = kind.partition(".")
    name = kind.rsplit(".", 1)[-1]
    return PACKAGES.get(package, "") + LAYERS.get(name, name)


def detr(model: Mapping[str, Any]) -> dict[str, Any]:
    """DETR and Deformable DETR: encoder, decoder, queries and positional encoding move into the head."""
    moved = ("encoder", "decoder", "num_queries", "positional_encoding", "with_box_refine", "as_two_stage")
    result = {key: value for key, value in model.items() if key not in (*moved, "num_feature_levels")}
    head = dict(model["bbox_head"])
    deformable = model["type"] == "DeformableDETR"
    kind = "DeformableDetrTransformer" if deformable else "Transformer"
    head["transformer"] = {
        "type": kind,
        "encoder": encoder(model["encoder"], deformable),
        "decoder": decoder(model["decoder"], deformable),
    }
    head["positional_encoding"] = positional_encoding(model.get("positional_encoding", {}), deformable)
    head["num_query"] = model.get("num_queries", 300 if deformable else 100)
    if deformable:
        flags = {key: model.get(key, False) for key in ("with_box_refine", "as_two_stage")}
        head |= flags
        if flags["as_two_stage"]:
            head["transformer"]["two_stage_num_proposals"] = head["num_query"]
        if "num_feature_levels" in model:
            head["transformer"]["num_feature_levels"] = model["num_feature_levels"]
        head["in_channels"] = head.get("in_channels", 2048)
    else:
        head["in_channels"] = input_channels(result.pop("neck", None))
    head.pop("embed_dims", None)
    return {**result, "bbox_head": head}


def input_channels(neck: Any) -> int:
    """Channels of the one level that DETR projects."""
    return int(neck["in_channels"][0]) if isinstance(neck, dict) and neck.get("in_channels") else 2048


def positional_encoding(settings: Mapping[str, Any], deformable: bool) -> dict[str, Any]:
    """The sine encoding; Deformable DETR shifts it by half a cell."""
    default = {"num_feats": 128, "normalize": True} | ({"offset": -0.5} if deformable else {})
    return {"type": "SinePositionalEncoding", **default, **settings}


def encoder(settings: Mapping[str, Any], deformable: bool) -> dict[str, Any]:
    """A stack of self-attention layers."""
    layer = settings["layer_cfg"]
    attention = {"type": "MultiScaleDeformableAttention" if deformable else "MultiheadAttention"}
    own = {**attention, **attention_settings(layer.get("self_attn_cfg", {}), deformable)}
    order = ["self_attn", "norm", "ffn", "norm"]
    return {
        "type": "DetrTransformerEncoder",
        "num_layers": settings["num_layers"],
        "transformerlayers": transformer_layer("BaseTransformerLayer", [own], layer, order),
    }


def decoder(settings: Mapping[str, Any], deformable: bool) -> dict[str, Any]:
    """A stack of self- and cross-attention layers."""
    layer = settings["layer_cfg"]
    own = {"type": "MultiheadAttention", **attention_settings(layer.get("self_attn_cfg", {}), False)}
    kind = "MultiScaleDeformableAttention" if deformable else "MultiheadAttention"
    across = {"type": kind, **attention_settings(layer.get("cross_attn_cfg", {}), deformable)}
    order = ["self_attn", "norm", "cross_attn", "norm", "ffn", "norm"]
    return {
        "type": "DeformableDetrTransformerDecoder" if deformable else "DetrTransformerDecoder",
        "num_layers": settings["num_layers"],
        "return_intermediate": settings.get("return_intermediate", True),
        "transformerlayers": transformer_layer("DetrTransformerDecoderLayer", [own, across], layer, order),
    }


def attention_settings(settings: Mapping[str, Any], deformable: bool) -> dict[str, Any]:
    """Arguments that both versions know; 2.x puts the batch second."""
    kept = ("embed_dims", "num_heads", "dropout") + (("num_levels", "num_points") if deformable else ())
    defaults: dict[str, Any] = {"embed_dims": 256} | ({} if deformable else {"num_heads": 8})
    return defaults | {key: settings[key] for key in kept if key in settings}


def transformer_layer(
    kind: str, attention: list[dict[str, Any]], layer: Mapping[str, Any], order: list[str]
) -> dict[str, Any]:
    """One layer as MMCV's transformer blocks are described."""
    feed = layer.get("ffn_cfg", {})
    return {
        "type": kind,
        "attn_cfgs": attention if len(attention) > 1 else attention[0],
        "feedforward_channels": feed.get("feedforward_channels", 1024),
        "ffn_dropout": feed.get("ffn_drop", 0.0),
        "operation_order": order,
    }


def panoptic_head(head: Mapping[str, Any]) -> dict[str, Any]:
    """MaskFormer's and Mask2Former's head, whose layers 3.x describes by `layer_cfg`."""
    result = dict(head)
    if "layer_cfg" in result.get("transformer_decoder", {}):
        masked = result.get("type") == "Mask2FormerHead"
        result["transformer_decoder"] = mask_decoder(result["transformer_decoder"], masked)
    pixel = current(result.get("pixel_decoder", {}))
    if "layer_cfg" in pixel.get("encoder", {}):
        pixel["encoder"] = encoder(pixel["encoder"], pixel.get("type") == "MSDeformAttnPixelDecoder")
        pixel["positional_encoding"] = positional_encoding(pixel.get("positional_encoding", {}), False)
        result["pixel_decoder"] = pixel
    result["positional_encoding"] = positional_encoding(result.get("positional_encoding", {}), False)
    return result


def mask_decoder(settings: Mapping[str, Any], masked: bool) -> dict[str, Any]:
    """The query decoder; in Mask2Former the masked cross-attention comes first."""
    result = decoder(settings, False)
    layers = result["transformerlayers"]
    if masked:
        layers["operation_order"] = ["cross_attn", "norm", "self_attn", "norm", "ffn", "norm"]
        layers["attn_cfgs"] = layers["attn_cfgs"][0]
    return result
