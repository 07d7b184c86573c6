"""The configuration inside a checkpoint describes its network, and cannot do anything."""

from __future__ import annotations

import pytest

from zoo.checkpoint.config.literals import Unknown, evaluate_text
from zoo.checkpoint.config.mmdet_config import describe, parse
from zoo.errors import BuildError, CorruptCheckpoint
from zoo.preprocessing.recipe import Normalize, Pad, Resize

PIPELINE_V2 = """
img_norm_cfg = dict(
    mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='MultiScaleFlipAug',
        img_scale=(1333, 800),
        flip=False,
        transforms=[
            dict(type='Resize', keep_ratio=True),
            dict(type='RandomFlip'),
            dict(type='Normalize', **img_norm_cfg),
            dict(type='Pad', size_divisor=32),
            dict(type='ImageToTensor', keys=['img']),
            dict(type='Collect', keys=['img'])
        ])
]
data = dict(samples_per_gpu=2, test=dict(type='CocoDataset', classes=('a', 'b'), pipeline=test_pipeline))
"""

RETINANET_V2 = """
model = dict(
    type='RetinaNet',
    backbone=dict(
        type='ResNet',
        depth=50,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        norm_cfg=dict(type='BN', requires_grad=True),
        style='pytorch',
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50')),
    neck=dict(type='FPN', in_channels=[256, 512, 1024, 2048], out_channels=256, start_level=1,
              add_extra_convs='on_input', num_outs=5),
    bbox_head=dict(
        type='RetinaHead', num_classes=2, in_channels=256, stacked_convs=4, feat_channels=256,
        anchor_generator=dict(type='AnchorGenerator', octave_base_scale=4, scales_per_octave=3,
                              ratios=[0.5, 1.0, 2.0], strides=[8, 16, 32, 64, 128]),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_means=[.0, .0, .0, .0], target_stds=[1.0, 1.0, 1.0, 1.0]),
        loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox=dict(type='L1Loss', loss_weight=1.0)))
test_cfg = dict(nms_pre=1000, min_bbox_size=0, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=100)
"""

PREPROCESSOR_V3 = """
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=1),
    backbone=dict(type='mmdet.ResNet', depth=50, num_stages=4, out_indices=(3, ), frozen_stages=1,
        norm_cfg=dict(type='BN', requires_grad=False), norm_eval=True, style='pytorch',
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50')),
"""

LOADER_V3 = """
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='Resize', scale=(1333, 800), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))
]
test_dataloader = dict(batch_size=1, dataset=dict(type='CocoDataset', pipeline=test_pipeline))
test_cfg = dict(type='TestLoop')
"""

ATTENTION = "dict(embed_dims=256, num_heads=8, dropout=0.1, batch_first=True)"
FEED_FORWARD = "dict(embed_dims=256, feedforward_channels=2048, num_fcs=2, ffn_drop=0.1, act_cfg=dict(type='ReLU'))"

DETR_V3 = f"""
model = dict(
    type='DETR',
    num_queries=100,
    {PREPROCESSOR_V3}
    neck=dict(type='ChannelMapper', in_channels=[2048], kernel_size=1, out_channels=256, act_cfg=None, num_outs=1),
    encoder=dict(num_layers=6, layer_cfg=dict(self_attn_cfg={ATTENTION}, ffn_cfg={FEED_FORWARD})),
    decoder=dict(num_layers=6, return_intermediate=True,
        layer_cfg=dict(self_attn_cfg={ATTENTION}, cross_attn_cfg={ATTENTION}, ffn_cfg={FEED_FORWARD})),
    positional_encoding=dict(num_feats=128, normalize=True),
    bbox_head=dict(type='DETRHead', num_classes=80, embed_dims=256,
        loss_cls=dict(type='CrossEntropyLoss', bg_cls_weight=0.1, use_sigmoid=False, loss_weight=1.0, class_weight=1.0),
        loss_bbox=dict(type='L1Loss', loss_weight=5.0), loss_iou=dict(type='GIoULoss', loss_weight=2.0)),
    test_cfg=dict(max_per_img=100))
{LOADER_V3}
"""


def built(config):
    """Names and shapes of the network that a configuration describes."""
    import zoo

    return {
        name: list(tensor.shape) for name, tensor in zoo.build(describe({"config": config}).model).state_dict().items()
    }


def test_a_configuration_of_version_2_describes_its_network():
    result = describe({"config": RETINANET_V2 + PIPELINE_V2, "CLASSES": ["cat", "dog"]})
    assert result.model["type"] == "RetinaNet" and result.model["test_cfg"]["nms_pre"] == 1000
    assert result.model["backbone"]["out_indices"] == [0, 1, 2, 3]
    assert result.classes == ("cat", "dog")
    kinds = [type(step) for step in result.preprocessing.steps]
    assert kinds == [Resize, Normalize, Pad] and result.preprocessing.steps[2].divisor == 32
    assert built(RETINANET_V2 + PIPELINE_V2)["bbox_head.retina_cls.weight"] == [18, 256, 3, 3]


def test_classes_come_from_the_datasets_where_the_metadata_lack_them():
    assert describe({"config": RETINANET_V2 + PIPELINE_V2}).classes == ("a", "b")


def test_a_configuration_of_version_3_describes_the_same_network():
    from tests.zoo.checkpoint.naming import shapes

    meta = {"cfg": DETR_V3, "dataset_meta": {"CLASSES": ["cat"]}}
    result = describe(meta)
    assert result.classes == ("cat",)
    assert "data_preprocessor" not in result.model and "neck" not in result.model
    assert [type(step) for step in result.preprocessing.steps] == [Resize, Normalize]
    assert {name: tuple(shape) for name, shape in built(DETR_V3).items()} == shapes("detr_r50_8x2_150e_coco")


def test_scopes_and_module_paths_are_taken_off_types():
    text = DETR_V3.replace("'DETRHead'", "'mmdet.models.dense_heads.DETRHead'")
    assert describe({"cfg": text}).model["bbox_head"]["type"] == "DETRHead"


def test_several_files_in_one_text_are_merged_as_bases_are():
    base = "/configs/_base_/models/x.py\nmodel = dict(type='A', head=dict(classes=80, kept=1), neck=dict(a=1))\n"
    own = "/configs/y.py\n_base_ = ['x.py']\nmodel = dict(head=dict(classes=3), neck=dict(_delete_=True, b=2))\n"
    assert parse(base + own)["model"] == {"type": "A", "head": {"classes": 3, "kept": 1}, "neck": {"b": 2}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("x = 1", 1),
        ("x = -1.5e-3", -0.0015),
        ("x = [1.0] * 3 + [0.1]", [1.0, 1.0, 1.0, 0.1]),
        ("a = 2\nx = a * 3 + 1", 7),
        ("x = dict(a=1, **dict(b=2))", {"a": 1, "b": 2}),
        ("x = {'a': (1, 2), 3: None}", {"a": [1, 2], 3: None}),
        ("a = dict(b=[1, 2])\nx = a['b'][1]", 2),
        ("x = 'data/' + 'coco'", "data/coco"),
        ("x = float('inf')", float("inf")),
        ("x = not True", False),
        ("x = dict()\nx['a'] = 1", {"a": 1}),
        ("a = [1]\nx = [*a, 2]", [1, 2]),
    ],
)
def test_literals_and_what_can_be_computed_from_them(text, value):
    assert parse(text)["x"] == value


@pytest.mark.parametrize(
    "text",
    [
        "import os\nx = os.system('touch ran')",
        "x = __import__('os').system('touch ran')",
        "x = [c for c in ().__class__.__base__.__subclasses__()]",
        "x = open('ran', 'w')",
        "x = f'{open(1)}'",
        "x = 10 ** 10 ** 10",
        "x = 'a' * 10 ** 12",
        "x = (lambda: 1)()",
        "x = eval('1')",
        "for x in range(3):\n    pass",
        "def x():\n    pass\nx = x()",
        "x = unknown_name",
        "x = dict(**unknown)['a']",
    ],
)
def test_what_only_running_would_tell_stays_unknown_and_is_never_run(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert isinstance(parse(text).get("x", Unknown("", 0)), Unknown)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    ["x = (", "x = " + "[" * 300 + "]" * 300, "x = " + "-" * 100_000 + "1", "x = '\0'", "x = 1" + "0" * 5_000_000],
)
def test_text_that_does_not_parse_is_a_sentence(text):
    with pytest.raises(CorruptCheckpoint):
        parse(text)


def test_lists_that_double_are_stopped():
    text = "a = [1, 2, 3, 4]\n" + "".join(f"a = [{', '.join(['a'] * 10)}]\n" for _ in range(30))
    with pytest.raises(CorruptCheckpoint):
        parse(text)


@pytest.mark.parametrize(
    ("meta", "sentence"),
    [
        ({}, "does not say which network"),
        ({"config": "x = 1"}, "no `model`"),
        ({"config": RETINANET_V2}, "no test pipeline"),
        (
            {"config": "import m\nmodel = dict(type='A', backbone=m.make())" + PIPELINE_V2},
            r"computes `model\.backbone`",
        ),
        ({"config": RETINANET_V2 + PIPELINE_V2.replace("'Pad'", "'Magic'")}, "Magic"),
        ({"config": "model = dict(type='FasterRCNN', bbox_roi_extractor=dict())" + PIPELINE_V2}, r"1\.x"),
    ],
)
def test_what_is_missing_is_said_in_a_sentence(meta, sentence):
    with pytest.raises(BuildError, match=sentence):
        describe(meta)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("x = [dict(a=1) for _ in range(3)]", [{"a": 1}] * 3),
        ("x = [8 / n for n in [1, 2]]", [8.0, 4.0]),
        ("n = 2\nx = [i for i in range(n)]", [0, 1]),
    ],
)
def test_lists_that_repeat_something(text, value):
    assert parse(text)["x"] == value


@pytest.mark.parametrize(
    "text",
    [
        "x = [1 for _ in range(10 ** 9)]",
        "x = [1 for _ in range(5) if True]",
        "x = [[1 for _ in range(1000)] for _ in range(1000)]",
        "x = [1 for a in range(3) for b in range(3)]",
        "x = [1 for _ in range(1, 5, 0)]",
        "x = [_ for _ in range(2.5)]",
    ],
)
def test_repetitions_that_could_take_long_stay_unknown(text):
    assert isinstance(parse(text)["x"], Unknown)


def test_descriptions_of_older_versions_are_brought_up_to_date():
    old = """
model = dict(
    type='SingleStageDetector',
    backbone=dict(type='SSDVGG', input_size=300, depth=16, with_last_pool=False, ceil_mode=True,
                  out_indices=(3, 4), out_feature_indices=(22, 34), l2_norm_scale=20),
    neck=None,
    bbox_head=dict(type='SSDHead', in_channels=(512, 1024, 512, 256, 256, 256), num_classes=80))
test_cfg = dict(nms=dict(type='nms', iou_thr=0.45), min_bbox_size=0, score_thr=0.02, max_per_img=200)
"""
    model = describe({"config": old + PIPELINE_V2}).model
    assert "input_size" not in model["backbone"] and "l2_norm_scale" not in model["backbone"]
    assert model["neck"]["level_strides"] == [2, 2, 1, 1] and model["neck"]["out_channels"][0] == 512
    assert model["test_cfg"]["nms"] == {"type": "nms", "iou_threshold": 0.45}


def test_settings_of_old_proposals_are_brought_up_to_date():
    old = """
model = dict(
    type='FasterRCNN',
    neck=dict(type='FPN', add_extra_convs=True, extra_convs_on_inputs=False),
    backbone=dict(type='ResNet', dcn=dict(type='DCNv2', deformable_groups=1)),
    roi_head=dict(bbox_roi_extractor=dict(roi_layer=dict(type='RoIAlign', out_size=7, sample_num=0))))
test_cfg = dict(rpn=dict(nms_across_levels=False, nms_pre=1000, nms_post=1000, max_num=1000, nms_thr=0.7,
                         min_bbox_size=0),
                rcnn=dict(score_thr=0.05, nms=dict(type='nms', iou_thr=0.5), max_per_img=100))
"""
    model = describe({"config": old + PIPELINE_V2}).model
    assert model["test_cfg"]["rpn"] == {
        "nms_pre": 1000,
        "min_bbox_size": 0,
        "nms": {"type": "nms", "iou_threshold": 0.7},
        "max_per_img": 1000,
    }
    assert model["test_cfg"]["rcnn"]["nms"] == {"type": "nms", "iou_threshold": 0.5}
    assert model["neck"] == {"type": "FPN", "add_extra_convs": "on_output"}
    assert model["backbone"]["dcn"] == {"type": "DCNv2", "deform_groups": 1}
    layer = model["roi_head"]["bbox_roi_extractor"]["roi_layer"]
    assert layer == {"type": "RoIAlign", "output_size": 7, "sampling_ratio": 0}


def test_detr_described_by_numbers_is_the_same_network():
    from tests.zoo.checkpoint.naming import shapes

    old = """
model = dict(
    type='DETR',
    backbone=dict(type='ResNet', depth=50, num_stages=4, out_indices=(3, ), norm_cfg=dict(type='BN'), style='pytorch'),
    bbox_head=dict(
        type='DETRHead', num_classes=80, in_channels=2048, num_query=100,
        transformer=dict(type='Transformer', embed_dims=256, num_heads=8, num_encoder_layers=6, num_decoder_layers=6,
                         feedforward_channels=2048, dropout=0.1, return_intermediate_dec=True),
        positional_encoding=dict(type='SinePositionalEncoding', num_feats=128, normalize=True)))
test_cfg = dict(max_per_img=100)
"""
    assert {k: tuple(s) for k, s in built(old + PIPELINE_V2).items()} == shapes("detr_r50_8x2_150e_coco")


def test_arguments_that_version_3_renamed():
    text = DETR_V3.replace("type='DETR',", "type='CenterNet',").replace("type='ChannelMapper'", "type='CTResNetNeck'")
    assert describe({"cfg": text}).model["neck"]["in_channel"] == [2048]


def test_yolact_of_version_3_gets_its_training_head_back():
    text = DETR_V3.replace("type='DETR',", "type='YOLACT', mask_head=dict(num_classes=3, with_seg_branch=True),")
    model = describe({"cfg": text}).model
    assert model["segm_head"]["num_classes"] == 3 and model["mask_head"] == {"num_classes": 3}


MANY = range(2000)
EXPLOSIVE = {
    "copies of a list": "a = [0] * 1000000\n" + "\n".join(f"b{n} = list(a)" for n in MANY),
    "lists in lists": "a = [0] * 999999\n" + "\n".join(f"b{n} = [*a, *a]" for n in MANY),
    "sums": "a = [0] * 500000\n" + "\n".join(f"b{n} = a + a" for n in MANY),
    "texts": "\n".join(f"b{n} = 'x' * 1000000" for n in MANY),
    "dictionaries": f"a = dict({', '.join(f'k{n}=1' for n in MANY)})\n"
    + "\n".join(f"b{n} = dict(a)" for n in range(9000)),
    "repetitions": "a = [0] * 1000\n" + "\n".join(f"b{n} = [a + a for i in range(1000)]" for n in MANY),
}


@pytest.mark.parametrize("text", EXPLOSIVE.values(), ids=EXPLOSIVE)
def test_a_short_text_never_makes_much(text):
    with pytest.raises(CorruptCheckpoint, match="more and more"):
        evaluate_text(text)


def test_a_long_value_that_is_not_known_is_named_shortly():
    text = f"a = call({', '.join(['1'] * 1000)})\nb = call(1)"
    values = evaluate_text(text)
    assert str(values["a"]) == "call(...) (line 1)" and str(values["b"]) == "call(1) (line 2)"
