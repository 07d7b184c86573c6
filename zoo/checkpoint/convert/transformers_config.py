"""The `config.json` of Hugging Face's transformers for a network, from its tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from zoo.checkpoint.convert.reorder import COCO_ROWS
from zoo.errors import MismatchedCheckpoint

State = Mapping[str, Tensor]

DEPTHS = {6: "resnet50", 23: "resnet101"}
"""Blocks in the third stage -> timm's name of the backbone."""

KINDS = {
    "panoptic_head.query_feat.weight": "transformers_mask2former",
    "panoptic_head.query_embed.weight": "transformers_maskformer",
    "decoder.ref_anchor_head.layers.0.weight": "transformers_dab_detr",
    "decoder.ref_point_head.layers.0.weight": "transformers_conditional_detr",
}
"""A tensor that networks of one kind have -> the table with their names; the first that fits."""

STAGES = ["stage1", "stage2", "stage3", "stage4"]


def kind_of(state: State) -> str:
    """The rename table of a network: that of DETR and Deformable DETR where no other is about it."""
    return next((table for name, table in KINDS.items() if name in state), "transformers")


def configuration(kind: str, state: State, theirs: State, classes: Sequence[str]) -> dict[str, Any]:
    """What `config.json` says: the kind of network, its sizes, and the names of the classes.

    kind: the rename table. theirs: the tensors in transformers' names. Raises MismatchedCheckpoint for a backbone that
    transformers does not have there.
    """
    make = {
        "transformers_mask2former": mask2former,
        "transformers_maskformer": maskformer,
        "transformers_dab_detr": dab_detr,
        "transformers_conditional_detr": conditional_detr,
    }.get(kind, detr)
    config = make(state, theirs)
    labels = label_names(config.pop("num_labels"), classes)
    return {**config, "id2label": labels, "label2id": {name: int(number) for number, name in labels.items()}}


def detr(state: State, theirs: State) -> dict[str, Any]:
    """DETR and Deformable DETR."""
    deformable = "model.level_embed" in theirs
    predictor = theirs["class_embed.0.bias" if deformable else "class_labels_classifier.bias"]
    queries = theirs.get("model.query_position_embeddings.weight")
    config = {
        "architectures": ["DeformableDetrForObjectDetection" if deformable else "DetrForObjectDetection"],
        "model_type": "deformable_detr" if deformable else "detr",
        "num_labels": len(predictor) - (0 if deformable else 1),
        "backbone": timm_backbone(state),
        "use_timm_backbone": True,
        "use_pretrained_backbone": False,
        "num_queries": 300 if queries is None else len(queries),
        "d_model": theirs["model.encoder.layers.0.fc1.weight"].shape[1],
        **transformer(theirs, "model.decoder.layers.0.fc1.weight"),
    }
    if deformable:
        two_stage = "model.enc_output.weight" in theirs
        config |= {"with_box_refine": refines(state), "two_stage": two_stage, "num_feature_levels": 4}
    return config


def conditional_detr(state: State, theirs: State) -> dict[str, Any]:
    """Conditional DETR."""
    return {
        "architectures": ["ConditionalDetrForObjectDetection"],
        "model_type": "conditional_detr",
        "num_labels": len(theirs["class_labels_classifier.bias"]),
        **own_backbone(resnet(state, ["stage4"])),
        "num_queries": len(theirs["model.query_position_embeddings.weight"]),
        "d_model": theirs["model.encoder.layers.0.fc1.weight"].shape[1],
        **transformer(theirs, "model.decoder.layers.0.fc1.weight"),
    }


def dab_detr(state: State, theirs: State) -> dict[str, Any]:
    """DAB-DETR."""
    patterns = theirs.get("model.patterns.weight")
    return {
        "architectures": ["DabDetrForObjectDetection"],
        "model_type": "dab-detr",
        "num_labels": len(theirs["class_embed.bias"]),
        **own_backbone(resnet(state, ["stage4"])),
        "num_queries": len(theirs["model.query_refpoint_embeddings.weight"]),
        "num_patterns": 0 if patterns is None else len(patterns),
        "hidden_size": theirs["model.encoder.layers.0.fc1.weight"].shape[1],
        **transformer(theirs, "model.decoder.layers.0.mlp.fc1.weight"),
    }


def maskformer(state: State, theirs: State) -> dict[str, Any]:
    """MaskFormer."""
    width = theirs["model.transformer_module.queries_embedder.weight"].shape[1]
    decoder = {
        "model_type": "detr",
        "d_model": width,
        "num_queries": len(theirs["model.transformer_module.queries_embedder.weight"]),
        "decoder_layers": layers(theirs, "transformer_module.decoder"),
        "decoder_ffn_dim": len(theirs["model.transformer_module.decoder.layers.0.fc1.weight"]),
    }
    mask = theirs["model.pixel_level_module.decoder.mask_projection.weight"]
    return {
        "architectures": ["MaskFormerForInstanceSegmentation"],
        "model_type": "maskformer",
        "num_labels": len(theirs["class_predictor.bias"]) - 1,
        "fpn_feature_size": mask.shape[1],
        "mask_feature_size": len(mask),
        "backbone_config": own_config(state, STAGES),
        "decoder_config": decoder,
    }


def mask2former(state: State, theirs: State) -> dict[str, Any]:
    """Mask2Former, whose transformers count the prediction before the first layer as one more layer."""
    mask = theirs["model.pixel_level_module.decoder.mask_projection.weight"]
    decoder = "model.transformer_module"
    return {
        "architectures": ["Mask2FormerForUniversalSegmentation"],
        "model_type": "mask2former",
        "num_labels": len(theirs["class_predictor.bias"]) - 1,
        "backbone_config": own_config(state, STAGES),
        "feature_size": mask.shape[1],
        "mask_feature_size": len(mask),
        "hidden_dim": theirs[f"{decoder}.queries_embedder.weight"].shape[1],
        "num_queries": len(theirs[f"{decoder}.queries_embedder.weight"]),
        "encoder_layers": layers(theirs, "pixel_level_module.decoder.encoder"),
        "encoder_feedforward_dim": len(theirs["model.pixel_level_module.decoder.encoder.layers.0.fc1.weight"]),
        "decoder_layers": layers(theirs, "transformer_module.decoder") + 1,
        "dim_feedforward": len(theirs[f"{decoder}.decoder.layers.0.fc1.weight"]),
        "enforce_input_projection": f"{decoder}.input_projections.0.weight" in theirs,
    }


def transformer(theirs: State, decoder_ffn: str) -> dict[str, int]:
    """Layers and widths of an encoder and a decoder."""
    return {
        "encoder_ffn_dim": len(theirs["model.encoder.layers.0.fc1.weight"]),
        "decoder_ffn_dim": len(theirs[decoder_ffn]),
        "encoder_layers": layers(theirs, "encoder"),
        "decoder_layers": layers(theirs, "decoder"),
    }


def layers(theirs: State, part: str) -> int:
    """How many layers the encoder or decoder has."""
    result = (re.match(rf"model\.{re.escape(part)}\.layers\.(\d+)\.", name) for name in theirs)
    return 1 + max(int(match[1]) for match in result if match)


def refines(state: State) -> bool:
    """Whether each layer of a Deformable DETR has box predictors of its own."""
    first, second = (state.get(f"bbox_head.reg_branches.{layer}.0.weight") for layer in (0, 1))
    return first is not None and second is not None and not first.equal(second)


def timm_backbone(state: State) -> str:
    """timm's name of the backbone. Raises MismatchedCheckpoint for another than ResNet-50 and 101."""
    blocks = resnet_depths(state)[2]
    if blocks not in DEPTHS:
        raise MismatchedCheckpoint("transformers is written for backbones ResNet-50 and ResNet-101 only.")
    return DEPTHS[blocks]


def own_backbone(config: dict[str, Any]) -> dict[str, Any]:
    """A backbone of transformers itself instead of timm's."""
    return {"use_timm_backbone": False, "use_pretrained_backbone": False, "backbone": None, "backbone_config": config}


def own_config(state: State, stages: Sequence[str]) -> dict[str, Any]:
    """The backbone's part of the configuration."""
    return swin(state, stages) if "backbone.patch_embed.projection.weight" in state else resnet(state, stages)


def resnet_depths(state: State) -> list[int]:
    """Blocks per stage of a ResNet with bottlenecks."""
    pattern = r"backbone\.layer{}\.\d+\.conv3\.weight"
    return [sum(bool(re.fullmatch(pattern.format(stage), name)) for name in state) for stage in (1, 2, 3, 4)]


def resnet(state: State, stages: Sequence[str]) -> dict[str, Any]:
    """transformers' ResNet. Raises MismatchedCheckpoint for another than ResNet-50 and 101."""
    timm_backbone(state)
    return {"model_type": "resnet", "depths": resnet_depths(state), "out_features": list(stages)}


def swin(state: State, stages: Sequence[str]) -> dict[str, Any]:
    """transformers' Swin Transformer."""
    depths = [
        sum(bool(re.fullmatch(rf"backbone\.stages\.{stage}\.blocks\.\d+\.norm1\.weight", name)) for name in state)
        for stage in range(4)
    ]
    table = "backbone.stages.{}.blocks.0.attn.w_msa.relative_position_bias_table"
    patches = state["backbone.patch_embed.projection.weight"]
    window = (round(len(state[table.format(0)]) ** 0.5) + 1) // 2
    return {
        "model_type": "swin",
        "embed_dim": len(patches),
        "patch_size": patches.shape[-1],
        "depths": depths,
        "num_heads": [state[table.format(stage)].shape[1] for stage in range(4)],
        "window_size": window,
        "image_size": 32 * window,
        "out_features": list(stages),
    }


def label_names(count: int, classes: Sequence[str]) -> dict[str, str]:
    """Number -> name; COCO's numbers for its 80 categories, and `N/A` for those that have none."""
    numbers = COCO_ROWS if count == 91 and len(classes) == 80 else range(len(classes))
    known = dict(zip(numbers, classes))
    missing = "N/A" if count == 91 else "LABEL_{}"
    return {str(number): known.get(number, missing.format(number)) for number in range(count)}
