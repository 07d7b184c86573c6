"""Published state dicts under the names that other versions and projects give them: the inverse of the rename tables,
written from those projects' own naming."""

from __future__ import annotations

import gzip
import json
import re
from functools import lru_cache
from pathlib import Path

import torch


@lru_cache
def recorded():
    """Architecture -> [name, shape] of everything in its published state dict."""
    path = Path(__file__).with_name("states.json.gz")
    return json.loads(gzip.decompress(path.read_bytes()))


def shapes(name):
    return {key: tuple(shape) for key, shape in recorded()[name]}


def zeros(name):
    return {key: torch.zeros(shape) for key, shape in shapes(name).items()}


def substitute(name, pairs):
    for pattern, replacement in pairs:
        name = re.sub(pattern, replacement, name)
    return name


def minus(offset, text):
    return lambda result: text.format(*[result[1], int(result[1]) + offset])


def semantic(suffix):
    return lambda result: f"sem_seg_head.p{int(result[1]) + 2}.{2 * int(result[2])}.{suffix}".rstrip(".")


V3 = [
    (r"^segm_head", "mask_head.segm_branch"),
    (r"^bbox_head\.transformer\.level_embeds", "level_embed"),
    (r"^bbox_head\.transformer\.enc_output_norm", "memory_trans_norm"),
    (r"^bbox_head\.transformer\.enc_output", "memory_trans_fc"),
    (r"^bbox_head\.transformer\.pos_trans_norm", "pos_trans_norm"),
    (r"^bbox_head\.transformer\.pos_trans", "pos_trans_fc"),
    (r"^bbox_head\.transformer\.reference_points", "reference_points_fc"),
    (r"^bbox_head\.transformer\.", ""),
    (r"^bbox_head\.query_embedding", "query_embedding"),
    (r"^bbox_head\.input_proj", "neck.convs.0.conv"),
    (r"\.ffns\.0\.", ".ffn."),
]


def v3(name, masked=False):
    """MMDetection 3.x. masked: Mask2Former, whose decoder layers begin with the cross-attention."""
    result = {}
    for key, value in zeros(name).items():
        roles = ["self_attn", "cross_attn"]
        if masked and "transformer_decoder" in key:
            roles.reverse()
        pairs = [(r"\.attentions\.0\.", f".{roles[0]}."), (r"\.attentions\.1\.", f".{roles[1]}.")]
        result[substitute(key, V3 + pairs)] = value
    return result


def detectron2(name):
    """Detectron2."""
    offset = 3 if "retinanet" in name else 2
    prefix = "backbone." if "c4" in name or "dc5" in name else "backbone.bottom_up."
    pairs = [
        (r"^backbone\.conv1", f"{prefix}stem.conv1"),
        (r"^backbone\.bn1", f"{prefix}stem.conv1.norm"),
        (r"^backbone\.layer(\d)", minus(1, prefix + "res{1}")),
        (r"^roi_head\.shared_head\.layer4", "roi_heads.res5"),
        (r"(res\d\..*)\.[bg]n(\d)\.", r"\1.conv\2.norm."),
        (r"^backbone\.gn1", f"{prefix}stem.conv1.norm"),
        (r"^(neck\..*)\.gn\.", r"\1.norm."),
        (r"downsample\.0", "shortcut"),
        (r"downsample\.1", "shortcut.norm"),
        (r"^neck\.fpn_convs\.([34])\.conv", minus(3, "backbone.top_block.p{1}")),
        (r"^neck\.lateral_convs\.(\d)(?:\.conv)?", minus(offset, "backbone.fpn_lateral{1}")),
        (r"^neck\.fpn_convs\.(\d)(?:\.conv)?", minus(offset, "backbone.fpn_output{1}")),
        (r"^rpn_head\.rpn_conv", "proposal_generator.rpn_head.conv"),
        (r"^rpn_head\.rpn_cls", "proposal_generator.rpn_head.objectness_logits"),
        (r"^rpn_head\.rpn_reg", "proposal_generator.rpn_head.anchor_deltas"),
        (r"^roi_head\.bbox_head\.(\d\.)?shared_fcs\.0", r"roi_heads.box_head.\1fc1"),
        (r"^roi_head\.bbox_head\.(\d\.)?shared_fcs\.1", r"roi_heads.box_head.\1fc2"),
        (r"^roi_head\.bbox_head\.shared_convs\.(\d)\.gn", minus(1, "roi_heads.box_head.conv{1}.norm")),
        (r"^roi_head\.bbox_head\.shared_convs\.(\d)\.conv", minus(1, "roi_heads.box_head.conv{1}")),
        (r"^roi_head\.mask_head\.convs\.(\d)\.gn", minus(1, "roi_heads.mask_head.mask_fcn{1}.norm")),
        (r"^semantic_head\.conv_upsample_layers\.(\d)\.conv\.(\d)\.gn", semantic("norm.")),
        (r"^semantic_head\.conv_upsample_layers\.(\d)\.conv\.(\d)\.conv", semantic("")),
        (r"^semantic_head\.conv_logits", "sem_seg_head.predictor"),
        (r"^roi_head\.bbox_head\.(\d\.)?fc_cls", r"roi_heads.box_predictor.\1cls_score"),
        (r"^roi_head\.bbox_head\.(\d\.)?fc_reg", r"roi_heads.box_predictor.\1bbox_pred"),
        (r"^roi_head\.mask_head\.\d\.", "roi_head.mask_head."),
        (r"^roi_head\.mask_head\.convs\.(\d)\.conv", minus(1, "roi_heads.mask_head.mask_fcn{1}")),
        (r"^roi_head\.mask_head\.upsample", "roi_heads.mask_head.deconv"),
        (r"^roi_head\.mask_head\.conv_logits", "roi_heads.mask_head.predictor"),
        (r"^bbox_head\.cls_convs\.(\d)\.conv", lambda result: f"head.cls_subnet.{2 * int(result[1])}"),
        (r"^bbox_head\.reg_convs\.(\d)\.conv", lambda result: f"head.bbox_subnet.{2 * int(result[1])}"),
        (r"^bbox_head\.retina_cls", "head.cls_score"),
        (r"^bbox_head\.retina_reg", "head.bbox_pred"),
    ]
    state = {k: v for k, v in zeros(name).items() if not k.endswith("num_batches_tracked")}
    return {substitute(key, pairs): value for key, value in state.items()} | {"pixel_mean": torch.zeros(3, 1, 1)}


def v1_two_stage(name):
    """MMDetection 1.x: no RoI head, a background class in front, boxes and masks for it too."""
    result = {}
    for key, value in zeros(name).items():
        if re.search(r"fc_reg\.(weight|bias)$", key) and len(value) > 4:
            value = torch.zeros(len(value) + 4, *value.shape[1:])
        if "conv_logits" in key:
            value = torch.zeros(len(value) + 1, *value.shape[1:])
        result[key.removeprefix("roi_head.")] = value
    return result


def old_ssd(name):
    """SSD before MMDetection 2.14: extra layers in the backbone, predictors that are no sequences."""
    pairs = [
        (r"^neck\.extra_layers\.(\d)\.(\d)\.conv", lambda f: f"backbone.extra.{2 * int(f[1]) + int(f[2])}"),
        (r"^neck\.l2_norm", "backbone.l2_norm"),
        (r"^(bbox_head\.(?:cls|reg)_convs\.\d)\.0", r"\1"),
    ]
    return {substitute(key, pairs): value for key, value in zeros(name).items()}
