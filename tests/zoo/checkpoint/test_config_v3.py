"""Query-based detectors as MMDetection 3.x describes them are the networks that 2.x published."""

from __future__ import annotations

import pytest
import torch

import zoo
from tests.zoo.checkpoint.naming import shapes
from tests.zoo.checkpoint.test_config_text import LOADER_V3, PREPROCESSOR_V3
from zoo.checkpoint.config.mmdet_config import describe

ATTENTION = "dict(embed_dims=256, num_heads=8, dropout=0.0, batch_first=True)"
QUERIES = f"self_attn_cfg={ATTENTION}, cross_attn_cfg={ATTENTION}"
SINE = "positional_encoding=dict(num_feats=128, normalize=True)"


def feed(channels):
    return f"ffn_cfg=dict(embed_dims=256, feedforward_channels={channels}, num_fcs=2, ffn_drop=0.0)"


def preprocessor(levels):
    return PREPROCESSOR_V3.replace("out_indices=(3, )", f"out_indices={levels}")


def deformable_detr(two_stage):
    return f"""
model = dict(
    type='DeformableDETR', num_queries=300, num_feature_levels=4,
    with_box_refine={two_stage}, as_two_stage={two_stage},
    {preprocessor((1, 2, 3))}
    neck=dict(type='ChannelMapper', in_channels=[512, 1024, 2048], kernel_size=1, out_channels=256, act_cfg=None,
              norm_cfg=dict(type='GN', num_groups=32), num_outs=4),
    encoder=dict(num_layers=6, layer_cfg=dict(self_attn_cfg=dict(embed_dims=256, batch_first=True), {feed(1024)})),
    decoder=dict(num_layers=6, return_intermediate=True, post_norm_cfg=None, layer_cfg=dict(
        self_attn_cfg={ATTENTION}, cross_attn_cfg=dict(embed_dims=256, batch_first=True), {feed(1024)})),
    positional_encoding=dict(num_feats=128, normalize=True, offset=-0.5),
    bbox_head=dict(type='DeformableDETRHead', num_classes=80, sync_cls_avg_factor=True,
                   loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=2.0)),
    test_cfg=dict(max_per_img=100))
{LOADER_V3}
"""


def mask_classifier(kind, head, pixel_decoder, decoder_layers):
    return f"""
model = dict(
    type='{kind}',
    {preprocessor((0, 1, 2, 3))}
    panoptic_head=dict(
        type='{kind}Head', in_channels=[256, 512, 1024, 2048], feat_channels=256, out_channels=256,
        num_things_classes=80, num_stuff_classes=53, num_queries=100, {head}
        pixel_decoder=dict(norm_cfg=dict(type='GN', num_groups=32), act_cfg=dict(type='ReLU'), {pixel_decoder}, {SINE}),
        enforce_decoder_input_project=False, {SINE},
        transformer_decoder=dict(num_layers={decoder_layers}, layer_cfg=dict({QUERIES}, {feed(2048)}),
                                 return_intermediate=True),
        loss_cls=dict(type='CrossEntropyLoss', class_weight=[1.0] * 133 + [0.1])),
    panoptic_fusion_head=dict(type='MaskFormerFusionHead', num_things_classes=80, num_stuff_classes=53),
    test_cfg=dict(panoptic_on=True, instance_on=False, max_per_image=100, object_mask_thr=0.8, iou_thr=0.8))
{LOADER_V3}
"""


MASK2FORMER = mask_classifier(
    "Mask2Former",
    "strides=[4, 8, 16, 32], num_transformer_feat_level=3,",
    "type='MSDeformAttnPixelDecoder', num_outs=3, encoder=dict(num_layers=6, layer_cfg=dict(self_attn_cfg=dict("
    f"embed_dims=256, num_heads=8, num_levels=3, num_points=4, dropout=0.0, batch_first=True), {feed(1024)}))",
    9,
)
MASKFORMER = mask_classifier(
    "MaskFormer",
    "",
    "type='TransformerEncoderPixelDecoder', "
    f"encoder=dict(num_layers=6, layer_cfg=dict(self_attn_cfg={ATTENTION}, {feed(2048)}))",
    6,
)

DESCRIPTIONS = {
    "deformable_detr_r50_16x2_50e_coco": deformable_detr(False),
    "deformable_detr_twostage_refine_r50_16x2_50e_coco": deformable_detr(True),
    "mask2former_r50_lsj_8x2_50e_coco-panoptic": MASK2FORMER,
    "maskformer_r50_mstrain_16x1_75e_coco": MASKFORMER,
}


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_the_description_of_version_3_builds_the_published_network(name):
    network = zoo.build(describe({"cfg": DESCRIPTIONS[name]}).model)
    assert {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()} == shapes(name)


def test_and_it_computes_the_same():
    name = "deformable_detr_twostage_refine_r50_16x2_50e_coco"
    torch.manual_seed(0)
    published, described = zoo.build(name), zoo.build(describe({"cfg": DESCRIPTIONS[name]}).model)
    described.load_state_dict(published.state_dict())
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        left, right = published(image)[0], described(image)[0]
    assert torch.equal(left.boxes, right.boxes) and torch.equal(left.scores, right.scores)


def test_the_semantic_branch_may_say_how_coarse_its_training_maps_are():
    head = "semantic_head=dict(type='FusedSemanticHead', fusion_level=1, seg_scale_factor=0.125)"
    text = f"model = dict(type='HybridTaskCascade', {PREPROCESSOR_V3} roi_head=dict({head}))\n{LOADER_V3}"
    assert describe({"cfg": text}).model["roi_head"]["semantic_head"] == {
        "type": "FusedSemanticHead",
        "fusion_level": 1,
    }
