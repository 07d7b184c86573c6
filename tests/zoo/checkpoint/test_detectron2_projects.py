"""AdelaiDet's FCOS and Detectron2's projects PointRend and TridentNet: their files load strictly, and come back."""

from __future__ import annotations

import pickle

import pytest
import torch

import zoo
from tests.zoo.checkpoint.test_convert_to_peers import assert_same, random_state
from zoo.checkpoint import load_into, read
from zoo.checkpoint.convert.inverse import to_detectron2
from zoo.checkpoint.convert.rename import adapt
from zoo.checkpoint.formats.written_pickle import write_detectron2
from zoo.cli.main import main
from zoo.errors import MismatchedCheckpoint

DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


def layer(name, *shape):
    return [(f"{name}.weight", shape), (f"{name}.bias", shape[:1])]


def batch_norm(name, channels):
    return [(f"{name}.{part}", (channels,)) for part in ("weight", "bias", "running_mean", "running_var")]


def block(name, before, c, shortcut):
    names = []
    for number, (inner, out, kernel) in enumerate(((before, c, 1), (c, c, 3), (c, 4 * c, 1)), start=1):
        names.append((f"{name}.conv{number}.weight", (out, inner, kernel, kernel)))
        names += batch_norm(f"{name}.conv{number}.norm", out)
    if shortcut:
        names.append((f"{name}.shortcut.weight", (4 * c, before, 1, 1)))
        names += batch_norm(f"{name}.shortcut.norm", 4 * c)
    return names


def resnet(prefix, depth, stages=4):
    """detectron2.modeling.ResNet."""
    names = [(f"{prefix}stem.conv1.weight", (64, 3, 7, 7)), *batch_norm(f"{prefix}stem.conv1.norm", 64)]
    before = 64
    for stage in range(stages):
        c = 64 * 2**stage
        for j in range(DEPTHS[depth][stage]):
            names += block(f"{prefix}res{stage + 2}.{j}", before, c, j == 0)
            before = 4 * c
    return names


def fpn(depth, levels):
    """detectron2.modeling.FPN on a ResNet, from the level of `levels[0]` on."""
    names = resnet("backbone.bottom_up.", depth)
    for level in levels:
        names += layer(f"backbone.fpn_lateral{level}", 256, 128 * 2 ** (level - 1), 1, 1)
        names += layer(f"backbone.fpn_output{level}", 256, 256, 3, 3)
    return names


def fcos(depth):
    """adet.modeling.FCOS: towers of convolution, group norm and ReLU."""
    names = fpn(depth, (3, 4, 5))
    names += [pair for level in (6, 7) for pair in layer(f"backbone.top_block.p{level}", 256, 256, 3, 3)]
    head = "proposal_generator.fcos_head"
    for tower in ("cls_tower", "bbox_tower"):
        for i in range(4):
            names += layer(f"{head}.{tower}.{3 * i}", 256, 256, 3, 3) + layer(f"{head}.{tower}.{3 * i + 1}", 256)
    names += layer(f"{head}.cls_logits", 80, 256, 3, 3) + layer(f"{head}.bbox_pred", 4, 256, 3, 3)
    names += layer(f"{head}.ctrness", 1, 256, 3, 3)
    return names + [(f"{head}.scales.{i}.scale", (1,)) for i in range(5)]


def rpn(channels, sizes):
    head = "proposal_generator.rpn_head"
    names = layer(f"{head}.conv", channels, channels, 3, 3)
    names += layer(f"{head}.objectness_logits", 3 * sizes, channels, 1, 1)
    return names + layer(f"{head}.anchor_deltas", 12 * sizes, channels, 1, 1)


def point_rend(depth, coarse="roi_heads.mask_head.coarse_head", fc="fc", point="roi_heads.mask_head.point_head"):
    """point_rend.PointRendMaskHead in a Mask R-CNN."""
    names = fpn(depth, (2, 3, 4, 5)) + rpn(256, 1)
    names += layer("roi_heads.box_head.fc1", 1024, 256 * 49) + layer("roi_heads.box_head.fc2", 1024, 1024)
    names += layer("roi_heads.box_predictor.cls_score", 81, 1024) + layer(
        "roi_heads.box_predictor.bbox_pred", 320, 1024
    )
    names += layer(f"{coarse}.reduce_spatial_dim_conv", 256, 256, 2, 2)
    names += layer(f"{coarse}.{fc}1", 1024, 256 * 49) + layer(f"{coarse}.{fc}2", 1024, 1024)
    names += layer(f"{coarse}.prediction", 80 * 49, 1024)
    for number in (1, 2, 3):
        names += layer(f"{point}.fc{number}", 256, 336, 1)
    return names + layer(f"{point}.predictor", 80, 336, 1)


def first_point_rend(depth):
    """The same under the names of the project's first files."""
    return point_rend(depth, "roi_heads.mask_coarse_head", "coarse_mask_fc", "roi_heads.mask_point_head")


def trident(depth):
    """tridentnet.TridentRes5ROIHeads on a ResNet of three stages, whose branches share their weights."""
    names = resnet("backbone.", depth, stages=3) + rpn(1024, 5)
    names += [pair for j in range(3) for pair in block(f"roi_heads.res5.{j}", 1024 if j == 0 else 2048, 512, j == 0)]
    return (
        names
        + layer("roi_heads.box_predictor.cls_score", 81, 2048)
        + layer("roi_heads.box_predictor.bbox_pred", 320, 2048)
    )


FCOS = "fcos_center-normbbox-centeronreg-giou_r50_caffe_fpn_gn-head_1x_coco"
DCN = "fcos_center-normbbox-centeronreg-giou_r50_caffe_fpn_gn-head_dcn_1x_coco"
FILES = [
    (fcos, 50, FCOS),
    (point_rend, 50, "point_rend_r50_caffe_fpn_mstrain_1x_coco"),
    (first_point_rend, 50, "point_rend_r50_caffe_fpn_mstrain_1x_coco"),
    (point_rend, 101, "detectron2/pointrend_rcnn_R_101_FPN"),
    (trident, 50, "tridentnet_r50_caffe_1x_coco"),
    (trident, 101, "detectron2/tridentnet_fast_R_101_C4"),
]


def tensors(names):
    """Random tensors under foreign names."""
    generator = torch.Generator().manual_seed(0)
    return {name: torch.rand(shape, generator=generator) for name, shape in names}


@pytest.mark.parametrize(("make", "depth", "architecture"), FILES)
def test_a_file_with_the_projects_names_loads_strictly(make, depth, architecture, tmp_path):
    theirs = tensors(make(depth))
    with (tmp_path / "model_final.pkl").open("wb") as file:
        write_detectron2(theirs, file)
    network = zoo.build(architecture)
    load_into(network, read(tmp_path / "model_final.pkl"))
    ours = network.state_dict()
    weights = [tensor for name, tensor in ours.items() if not name.endswith("num_batches_tracked")]
    assert sum(float(tensor.double().sum()) for tensor in weights) == pytest.approx(
        sum(float(tensor.double().sum()) for tensor in theirs.values())
    )
    if make is not first_point_rend:
        back = to_detectron2(ours)
        assert_same(back, {name: tensor for name, tensor in theirs.items() if name in back})
        assert back.keys() == theirs.keys()


@pytest.mark.parametrize(
    "architecture", [*sorted({name for _, _, name in FILES}), DCN, "detectron2/pointrend_rcnn_X_101_32x8d_FPN"]
)
def test_names_come_back_bit_for_bit(architecture):
    state = random_state(architecture)
    back, used = adapt(to_detectron2(state), {name: tuple(tensor.shape) for name, tensor in state.items()})
    counters = {name: tensor for name, tensor in state.items() if name.endswith("num_batches_tracked")}
    assert_same(back | counters, state)
    assert used == ["Detectron2"]


def test_towers_centerness_and_scales_of_fcos_arrive_where_they_belong():
    theirs = tensors(fcos(50))
    shapes = {name: tuple(tensor.shape) for name, tensor in zoo.build(FCOS).state_dict().items()}
    ours, _ = adapt(theirs, shapes)
    head = "proposal_generator.fcos_head"
    assert ours["bbox_head.cls_convs.3.conv.weight"].equal(theirs[f"{head}.cls_tower.9.weight"])
    assert ours["bbox_head.reg_convs.2.gn.bias"].equal(theirs[f"{head}.bbox_tower.7.bias"])
    assert ours["bbox_head.conv_centerness.bias"].equal(theirs[f"{head}.ctrness.bias"])
    assert ours["bbox_head.scales.4.scale"] == theirs[f"{head}.scales.4.scale"][0]
    assert ours["neck.lateral_convs.0.conv.weight"].equal(theirs["backbone.fpn_lateral3.weight"])
    assert ours["neck.fpn_convs.4.conv.weight"].equal(theirs["backbone.top_block.p7.weight"])


def test_convert_writes_fcos_as_adelaidet_names_it(tmp_path):
    network = zoo.build(FCOS)
    torch.save({"state_dict": network.state_dict()}, tmp_path / "x.pth")
    assert main(["convert", str(tmp_path / "x.pth"), "--to", "detectron2", "--name", FCOS]) == 0
    content = pickle.loads((tmp_path / "x-detectron2.pkl").read_bytes())["model"]
    assert {name: tuple(value.shape) for name, value in content.items()} == dict(fcos(50))


def test_the_deformable_convolutions_of_fcos_have_names_of_their_own():
    theirs = to_detectron2(random_state(DCN))
    head = "proposal_generator.fcos_head"
    assert theirs[f"{head}.cls_tower.9.offset.weight"].shape == (27, 256, 3, 3)
    assert theirs[f"{head}.bbox_tower.9.conv.bias"].shape == (256,) and f"{head}.bbox_tower.9.bias" not in theirs


def test_an_fcos_that_adelaidet_does_not_have_is_refused():
    with pytest.raises(MismatchedCheckpoint, match=r"tower\.0\.bias, for which this network has nothing"):
        to_detectron2(random_state("fcos_r50_caffe_fpn_gn-head_1x_coco"))
