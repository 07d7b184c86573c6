"""Files of other ages and origins arrive under the published names, in our order of classes and anchors."""

from __future__ import annotations

import pytest
import torch
from torchvision.models import detection

from tests.zoo.checkpoint import naming
from tests.zoo.checkpoint.naming import shapes, zeros
from zoo.checkpoint.convert import reorder
from zoo.checkpoint.convert.rename import adapt


def fits(state, name, meta=None):
    """The adapted state dict, which must have exactly the published names and shapes."""
    adapted, _ = adapt(state, shapes(name), meta)
    assert {key: tuple(value.shape) for key, value in adapted.items()} == shapes(name)
    return adapted


@pytest.mark.parametrize("name", naming.recorded())
def test_published_names_pass_untouched(name):
    state = zeros(name)
    adapted, used = adapt(state, shapes(name))
    assert used == [] and all(adapted[key] is value for key, value in state.items())


QUERIES = [name for name in naming.recorded() if "detr" in name or "former" in name or "yolact" in name]


@pytest.mark.parametrize("name", QUERIES)
def test_names_of_mmdetection_3(name):
    fits(naming.v3(name, masked="mask2former" in name), name)


@pytest.mark.parametrize("name", ["rpn_r50_fpn_1x_coco", "rpn_r50_caffe_c4_1x_coco"])
def test_rpn_alone_is_a_single_stage_detector_in_mmdetection_3(name):
    state = {key.replace("rpn_head.", "bbox_head."): value for key, value in zeros(name).items()}
    fits(state, name)


def test_mask2former_has_its_cross_attention_first():
    name = "mask2former_r50_lsj_8x2_50e_coco-panoptic"
    state = naming.v3(name, masked=True)
    layer = "panoptic_head.transformer_decoder.layers.0"
    state[f"{layer}.cross_attn.attn.out_proj.bias"] += 1
    assert fits(state, name)[f"{layer}.attentions.0.attn.out_proj.bias"].sum() == 256


DETECTRON2 = [
    "faster_rcnn_r50_fpn_1x_coco",
    "faster_rcnn_r50_caffe_c4_1x_coco",
    "faster_rcnn_r50_caffe_dc5_1x_coco",
    "retinanet_r50_caffe_fpn_1x_coco",
    "mask_rcnn_r50_caffe_fpn_1x_coco",
    "cascade_mask_rcnn_r50_caffe_fpn_1x_coco",
    "rpn_r50_caffe_c4_1x_coco",
    "rpn_r50_fpn_1x_coco",
    "panoptic_fpn_r50_fpn_1x_coco",
    "mask_rcnn_r50_fpn_gn-all_2x_coco",
]


@pytest.mark.parametrize("name", DETECTRON2)
def test_names_of_detectron2(name):
    fits(naming.detectron2(name), name)


@pytest.mark.parametrize(("count", "sizes"), [(15, 5), (60, 5), (720, 3), (36, 3), (3, 1), (12, 1)])
def test_anchors_of_detectron2_change_from_sizes_to_ratios_first(count, sizes):
    width = count // (3 * sizes)
    theirs = torch.tensor(
        [[100 * size + 10 * ratio, number] for size in range(sizes) for ratio in range(3) for number in range(width)]
    )
    ours = torch.tensor(
        [[100 * size + 10 * ratio, number] for ratio in range(3) for size in range(sizes) for number in range(width)]
    )
    assert torch.equal(reorder.anchors(theirs, theirs.shape), ours)


TORCHVISION = {
    "fasterrcnn_resnet50_fpn": "faster_rcnn_r50_fpn_1x_coco",
    "maskrcnn_resnet50_fpn": "mask_rcnn_r50_caffe_fpn_1x_coco",
    "ssd300_vgg16": "ssd300_coco",
    "fcos_resnet50_fpn": "fcos_center-normbbox-centeronreg-giou_r50_caffe_fpn_gn-head_1x_coco",
}


def of_torchvision(name):
    """Names and shapes of a torchvision network."""
    with torch.device("meta"):
        return getattr(detection, name)(weights=None, weights_backbone=None).state_dict()


@pytest.mark.parametrize("theirs", TORCHVISION)
def test_names_of_torchvision(theirs):
    state = of_torchvision(theirs)
    adapted = fits(state, TORCHVISION[theirs])
    if theirs.startswith("fcos"):
        assert adapted["bbox_head.scales.0.scale"] == 1


def test_retinanet_of_torchvision_differs_only_where_p6_begins():
    name = "retinanet_r50_caffe_fpn_1x_coco"
    state = of_torchvision("retinanet_resnet50_fpn")
    adapted, _ = adapt(state, shapes(name))
    wrong = [key for key, shape in shapes(name).items() if tuple(adapted[key].shape) != shape]
    assert wrong == ["neck.fpn_convs.3.conv.weight"] and adapted.keys() == shapes(name).keys()


def test_older_torchvision_files_without_nested_convolutions():
    name = "faster_rcnn_r50_fpn_1x_coco"
    state = of_torchvision("fasterrcnn_resnet50_fpn")
    old = {
        key.replace("_blocks.0.0.", "_blocks.0.").replace("rpn.head.conv.0.0", "rpn.head.conv"): v
        for key, v in state.items()
    }
    fits({naming.substitute(key, [(r"(_blocks\.\d)\.0\.", r"\1.")]): value for key, value in old.items()}, name)


def test_torchvisions_91_numbers_become_80_categories_with_the_background_last():
    scores = torch.arange(91.0)
    picked = reorder.coco91(scores, (81,))
    assert picked[:2].tolist() == [1, 2] and picked[11] == 13 and picked[-2:].tolist() == [90, 0]
    assert reorder.coco91_foreground(scores, (80,)).tolist() == picked[:80].tolist()
    boxes = reorder.coco91_boxes(scores.repeat_interleave(4), (320,))
    assert boxes.tolist() == picked[:80].repeat_interleave(4).tolist()
    per_anchor = reorder.coco91(scores.repeat(6), (486,))
    assert per_anchor.tolist() == picked.repeat(6).tolist()


def test_torchvision_fine_tuned_on_other_classes_only_moves_the_background():
    assert reorder.coco91(torch.tensor([0.0, 1, 2]), (3,)).tolist() == [1, 2, 0]
    assert reorder.coco91_boxes(torch.arange(12.0), (8,)).tolist() == list(range(4, 12))


def test_cascades_of_mmdetection_1():
    fits(naming.v1_two_stage("cascade_mask_rcnn_r50_fpn_1x_coco_v1"), "cascade_mask_rcnn_r50_fpn_1x_coco_v1")


def test_things_of_detectron2s_semantic_branch_become_the_last_class():
    name = "panoptic_fpn_r50_fpn_1x_coco"
    state = naming.detectron2(name)
    state["sem_seg_head.predictor.bias"] = torch.arange(54.0)
    assert fits(state, name)["semantic_head.conv_logits.bias"].tolist() == [*range(1, 54), 0]


def test_two_stage_detectors_of_mmdetection_1():
    name = "mask_rcnn_r50_fpn_1x_coco_v1"
    state = naming.v1_two_stage(name)
    state["bbox_head.fc_cls.bias"] = torch.arange(81.0)
    state["bbox_head.fc_reg.bias"] = torch.arange(324.0)
    state["mask_head.conv_logits.bias"] = torch.arange(81.0)
    adapted = fits(state, name)
    assert adapted["roi_head.bbox_head.fc_cls.bias"].tolist() == [*range(1, 81), 0]
    assert adapted["roi_head.bbox_head.fc_reg.bias"].tolist() == list(range(4, 324))
    assert adapted["roi_head.mask_head.conv_logits.bias"].tolist() == list(range(1, 81))


def test_a_new_file_keeps_its_order_of_classes():
    name = "faster_rcnn_r50_fpn_1x_coco"
    state = {f"module.{key}": value for key, value in zeros(name).items()}
    state["module.roi_head.bbox_head.fc_cls.bias"] = torch.arange(81.0)
    adapted = fits(state, name, {"mmdet_version": "2.3.0"})
    assert adapted["roi_head.bbox_head.fc_cls.bias"].tolist() == list(range(81))


@pytest.mark.parametrize(("version", "first"), [("1.0rc0", 1), ("2.3.0", 0), (None, 1)])
def test_ssd_before_its_neck(version, first):
    name = "ssd300_coco"
    state = naming.old_ssd(name)
    state["bbox_head.cls_convs.0.bias"] = torch.arange(81.0).repeat(4)
    adapted = fits(state, name, {"mmdet_version": version} if version else {})
    order = [*range(1, 81), 0] if first else list(range(81))
    assert adapted["bbox_head.cls_convs.0.0.bias"].tolist() == order * 4


def test_retinanet_of_2018_with_plain_convolutions():
    name = "retinanet_r50_caffe_fpn_1x_coco"
    pairs = [(r"(bbox_head\.(?:cls|reg)_convs\.\d)\.conv", r"\1")]
    fits({naming.substitute(key, pairs): value for key, value in zeros(name).items()}, name)


@pytest.mark.parametrize(
    "name", ["faster_rcnn_r50_fpn_dconv_c3-c5_1x_coco", "faster_rcnn_r50_fpn_mdconv_c3-c5_1x_coco"]
)
def test_offsets_beside_the_deformable_convolution(name):
    state = {key.replace(".conv_offset.", "_offset."): value for key, value in zeros(name).items()}
    assert state.keys() != shapes(name).keys()
    fits(state, name)


def test_predictors_named_after_their_head():
    name = "fcos_r50_caffe_fpn_gn-head_1x_coco"
    if name not in naming.recorded():
        name = "fcos_center-normbbox-centeronreg-giou_r50_caffe_fpn_gn-head_1x_coco"
    pairs = [(r"\.conv_(cls|reg|centerness)\.", r".fcos_\1.")]
    fits({naming.substitute(key, pairs): value for key, value in zeros(name).items()}, name)


def test_detr_before_the_transformer_blocks():
    name = "detr_r50_8x2_150e_coco"
    pairs = [
        (r"(decoder\..*)\.attentions\.1\.", r"\1.multihead_attn."),
        (r"\.attentions\.0\.", ".self_attn."),
        (r"\.ffns\.0\.", ".ffn."),
        (r"decoder\.post_norm", "decoder.norm"),
    ]
    fits({naming.substitute(key, pairs): value for key, value in zeros(name).items()}, name)


def test_what_only_training_needs_is_left_out_where_the_network_lacks_it():
    name = "retinanet_ghm_r50_fpn_1x_coco"
    wanted = {key: shape for key, shape in shapes(name).items() if ".loss_" not in key}
    adapted, _ = adapt(zeros(name), wanted)
    assert adapted.keys() == wanted.keys() and len(wanted) < len(shapes(name))


def test_averaged_weights_beside_the_plain_ones_are_left_out():
    name = "yolox_nano_8x8_300e_coco"
    state = zeros(name)
    fits(state | {f"ema_{key.replace('.', '_')}": value for key, value in state.items()}, name)


def test_batch_counters_are_made_up_for_files_that_lack_them():
    name = "rpn_r50_fpn_1x_coco"
    adapted = fits({k: v for k, v in zeros(name).items() if not k.endswith("num_batches_tracked")}, name)
    assert adapted["backbone.bn1.num_batches_tracked"].dtype == torch.int64


def test_adapting_changes_no_tensor_of_the_file():
    state = naming.v1_two_stage("mask_rcnn_r50_fpn_1x_coco_v1")
    state["bbox_head.fc_cls.bias"] = torch.arange(81.0)
    before = {key: value.clone() for key, value in state.items()}
    adapt(state, shapes("mask_rcnn_r50_fpn_1x_coco_v1"))
    assert all(torch.equal(state[key], before[key]) for key in before)


def test_statistics_of_weight_standardized_filters_are_computed_where_a_file_lacks_them():
    weight = torch.arange(24.0).reshape(2, 3, 2, 2)
    wanted = {"conv.weight": (2, 3, 2, 2), "conv.weight_gamma": (2, 1, 1, 1), "conv.weight_beta": (2, 1, 1, 1)}
    adapted, _ = adapt({"conv.weight": weight}, wanted)
    assert adapted["conv.weight_beta"].flatten().tolist() == [5.5, 17.5]
    torch.testing.assert_close(adapted["conv.weight_gamma"].flatten(), weight.flatten(1).std(1))
