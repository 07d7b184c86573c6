"""Files under the names of authors and of transformers load strictly, detect the same, and come back bit for bit."""

from __future__ import annotations

import re

import pytest
import torch

import zoo
import zoo.manifest.api
from tests.zoo.checkpoint.test_convert_to_peers import assert_same
from zoo.checkpoint.convert.diagnosis import differences
from zoo.checkpoint.convert.rename import adapt
from zoo.checkpoint.convert.reorder import COCO_ROWS, OPERATIONS, UNUSED_COCO, invert
from zoo.checkpoint.convert.tables import table
from zoo.checkpoint.convert.to_dialect import to_dialect
from zoo.errors import BuildError, MismatchedCheckpoint
from zoo.training.initial_weights import from_backbone

AUTHORS = ("facebook_detr", "transformers", "megvii_yolox", "solo")
DIALECTS = [(name, each) for name in AUTHORS for each in table(name).architectures]
NOT_OBJECTS = [0, *UNUSED_COCO]


def random_state(architecture):
    """Random values under the names of an architecture."""
    try:
        with torch.device("meta"):
            state = zoo.build(architecture).state_dict()
    except (NotImplementedError, BuildError):  # some constructors compute with numbers
        state = zoo.build(architecture).state_dict()
    generator = torch.Generator().manual_seed(0)
    drawn = {name: torch.randn(like.shape, generator=generator) for name, like in state.items()}
    return {name: drawn[name] if like.is_floating_point() else drawn[name].long() * 0 for name, like in state.items()}


def shapes(state):
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


@pytest.mark.parametrize(("dialect", "architecture"), DIALECTS)
def test_names_of_a_dialect_come_back_bit_for_bit(dialect, architecture):
    state = random_state(architecture)
    theirs = to_dialect(state, table(dialect))
    back, used = adapt(theirs, shapes(state))
    assert_same(back, state)
    assert used == [table(dialect).title]


@pytest.mark.parametrize(
    ("dialect", "architecture", "names"),
    [
        (
            "facebook_detr",
            "detr_r50_8x2_150e_coco",
            {
                "transformer.encoder.layers.0.self_attn.in_proj_weight": (768, 256),
                "transformer.decoder.layers.5.multihead_attn.out_proj.bias": (256,),
                "transformer.decoder.layers.5.norm3.weight": (256,),
                "transformer.decoder.norm.bias": (256,),
                "class_embed.weight": (92, 256),
                "bbox_embed.layers.2.weight": (4, 256),
                "query_embed.weight": (100, 256),
                "input_proj.weight": (256, 2048, 1, 1),
                "backbone.0.body.layer4.2.bn3.running_var": (2048,),
            },
        ),
        (
            "facebook_detr",
            "sensetime/deformable_detr_r50_refine_twostage",
            {
                "transformer.level_embed": (4, 256),
                "transformer.encoder.layers.0.self_attn.sampling_offsets.weight": (256, 256),
                "transformer.decoder.layers.0.cross_attn.value_proj.weight": (256, 256),
                "transformer.pos_trans.weight": (512, 512),
                "class_embed.6.weight": (91, 256),
                "bbox_embed.6.layers.2.bias": (4,),
                "input_proj.3.0.weight": (256, 2048, 3, 3),
            },
        ),
        (
            "solo",
            "decoupled_solo_r50_fpn_1x_coco",
            {"bbox_head.ins_convs_x.0.conv.weight": (256, 257, 3, 3), "bbox_head.dsolo_cate.bias": (80,)},
        ),
        (
            "solo",
            "solov2_r50_fpn_1x_coco",
            {"bbox_head.solo_kernel.bias": (256,), "mask_feat_head.conv_pred.0.gn.weight": (256,)},
        ),
        (
            "megvii_yolox",
            "yolox_nano_8x8_300e_coco",
            {
                "backbone.backbone.stem.conv.conv.weight": (16, 12, 3, 3),
                "backbone.backbone.dark2.0.dconv.conv.weight": (16, 1, 3, 3),
                "backbone.backbone.dark5.1.conv2.conv.weight": (256, 512, 1, 1),
                "backbone.backbone.dark5.2.m.0.conv2.pconv.bn.num_batches_tracked": (),
                "backbone.C3_n4.conv3.conv.weight": (256, 256, 1, 1),
                "backbone.bu_conv2.dconv.conv.weight": (64, 1, 3, 3),
                "head.cls_convs.2.1.pconv.conv.weight": (64, 64, 1, 1),
                "head.obj_preds.0.bias": (1,),
            },
        ),
    ],
)
def test_the_names_are_those_of_the_authors(dialect, architecture, names):
    theirs = shapes(to_dialect(random_state(architecture), table(dialect)))
    assert {name: theirs.get(name) for name in names} == names


def test_what_a_project_has_no_place_for_is_named():
    with pytest.raises(MismatchedCheckpoint, match=r"transformers has no parameter for neck\.\S+, .* and \d+ more"):
        to_dialect(random_state("retinanet_r50_fpn_rsb-pretrain_1x_coco"), table("transformers"))


def test_norms_of_a_deformable_decoder_layer_follow_the_attention_they_belong_to():
    state = random_state("sensetime/deformable_detr_r50")
    theirs = to_dialect(state, table("facebook_detr"))
    ours = "bbox_head.transformer.decoder.layers.0.norms"
    for place, norm in enumerate(("norm2", "norm1", "norm3")):  # self-attention, cross-attention, feed-forward
        assert theirs[f"transformer.decoder.layers.0.{norm}.weight"].equal(state[f"{ours}.{place}.weight"])


def test_a_file_with_one_part_missing_is_refused_by_name():
    state = random_state("detr_r50_8x2_150e_coco")
    theirs = to_dialect(state, table("transformers"))
    del theirs["model.decoder.layers.3.encoder_attn.k_proj.weight"]
    back, _ = adapt(theirs, shapes(state))
    missing, surplus, _ = differences(shapes(back), shapes(state))
    assert missing == ["bbox_head.transformer.decoder.layers.3.attentions.1.attn.in_proj_weight"]
    assert len(surplus) == 2 and all(".3.encoder_attn." in name for name in surplus)


def test_biases_before_a_norm_are_left_out_where_they_are_zero_and_refused_where_they_are_not():
    state = random_state("deformable_detr_r50_16x2_50e_coco")  # without those biases
    theirs = to_dialect(state, table("transformers"))
    assert not theirs["model.input_proj.0.0.bias"].any()
    assert_same(adapt(theirs, shapes(state))[0], state)
    theirs["model.input_proj.0.0.bias"][0] = 1
    assert "model.input_proj.0.0.bias" in adapt(theirs, shapes(state))[0]


def test_other_numbers_of_classes_keep_their_rows():
    state = {"bbox_head.fc_cls.weight": torch.randn(6, 256)}
    assert OPERATIONS["coco91_no_object"](state["bbox_head.fc_cls.weight"], (6, 256)).equal(*state.values())


# transformers itself

TWO_STAGE = {"with_box_refine": True, "two_stage": True}


def foreign(kind, **settings):
    """One of transformers' detectors with random weights, whose unused class numbers never win, as in trained ones."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    pytest.importorskip("timm", reason="timm is not installed")
    torch.manual_seed(1)
    config = getattr(transformers, f"{kind}Config")(use_pretrained_backbone=False, num_labels=91, **settings)
    network = getattr(transformers, f"{kind}ForObjectDetection")(config).eval()
    with torch.no_grad():
        for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
            if tensor.dim() == 1:
                tensor.uniform_(0.5, 1.0) if "bn" in name or "downsample.1" in name else tensor.add_(
                    torch.randn_like(tensor) * 0.05
                )
            if "class" in name and len(tensor) in (91, 92):
                unused = [1, *UNUSED_COCO] if "embed.6" in name else NOT_OBJECTS  # 0 there: whether it is an object
                tensor[unused] = -30.0 if tensor.dim() == 1 else 0.0
    return network


def their_detections(outputs, height, width):
    """Scores, class numbers and boxes (x1, y1, x2, y2) in pixels of the best 100, as their post-processing has them."""
    logits, boxes = outputs.logits[0], outputs.pred_boxes[0]
    if logits.shape[1] == 92:
        scores, numbers = logits.softmax(-1)[:, :-1].max(-1)
        scores, chosen = scores.topk(100)
        numbers = numbers[chosen]
    else:
        scores, flat = logits.sigmoid().flatten().topk(100)
        chosen, numbers = flat // 91, flat % 91
    x, y, w, h = boxes[chosen].unbind(1)
    corners = torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], 1)
    return scores, numbers, (corners * torch.tensor([width, height] * 2)).clamp(min=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "kind", "settings"),
    [
        ("detr_r50_8x2_150e_coco", "Detr", {}),
        ("sensetime/deformable_detr_r50", "DeformableDetr", {}),
        ("sensetime/deformable_detr_r50_refine", "DeformableDetr", {"with_box_refine": True}),
        (
            "sensetime/deformable_detr_r50_refine_twostage",
            "DeformableDetr",
            {"with_box_refine": True, "two_stage": True},
        ),
    ],
)
def test_transformers_detects_the_same(architecture, kind, settings):
    theirs = foreign(kind, **settings)
    ours = zoo.build(architecture)
    state, used = adapt(theirs.state_dict(), shapes(ours.state_dict()))
    ours.load_state_dict(state, strict=True)
    assert used == ["transformers"]
    image = torch.randn(1, 3, 128, 160)
    with torch.no_grad():
        expected = their_detections(theirs(image, torch.ones(1, 128, 160, dtype=torch.long)), 128, 160)
        (result,) = ours(image, [(128, 160)])
    scores, numbers, boxes = expected
    assert torch.tensor(COCO_ROWS)[result.labels].equal(numbers)
    torch.testing.assert_close(result.scores, scores, atol=1e-4, rtol=0)
    torch.testing.assert_close(result.boxes, boxes.minimum(torch.tensor([160.0, 128.0] * 2)), atol=1e-4 * 160, rtol=0)
    names = to_dialect(ours.state_dict(), table("transformers"))
    wanted = theirs.state_dict()
    twice = [name for name in wanted if name not in names]  # the decoder's names for the same tensors
    assert set(names) <= set(wanted) and all(name.startswith("model.decoder.") for name in twice)
    assert [name for name in names if not names[name].equal(wanted[name])] == []


# What training starts from


def backbone_state(architecture):
    state = random_state(architecture)
    return {name: tensor for name, tensor in state.items() if name.startswith("backbone.")}


def start(architecture, theirs, tmp_path):
    """The backbone after starting from a file with these tensors, which have no `backbone.` in front."""
    torch.save(
        {"model": {name.removeprefix("backbone."): tensor for name, tensor in theirs.items()}}, tmp_path / "a.pth"
    )
    network = zoo.build(architecture)
    from_backbone(network, tmp_path / "a.pth")
    return {f"backbone.{name}": tensor for name, tensor in network.backbone.state_dict().items()}


SWIN = ["mask_rcnn_swin-t-p4-w7_fpn_ms-crop-3x_coco"]


@pytest.mark.parametrize("architecture", SWIN)
def test_training_starts_from_the_authors_swin_transformers(architecture, tmp_path):
    state = backbone_state(architecture)
    norms = {name for name in state if re.match(r"backbone\.norm\d\.", name)}
    theirs = to_dialect({name: tensor for name, tensor in state.items() if name not in norms}, table("swin"))
    assert "backbone.layers.0.blocks.1.attn.relative_position_bias_table" in theirs
    classifier = ("norm.weight", "norm.bias", "head.weight", "head.bias", "layers.0.blocks.1.attn_mask")
    loaded = start(architecture, theirs | {f"backbone.{name}": torch.ones(9) for name in classifier}, tmp_path)
    assert [name for name in state if name not in norms and not loaded[name].equal(state[name])] == []
    assert all(loaded[name].equal(torch.ones_like(loaded[name])) for name in norms if name.endswith("weight"))


def test_merged_patches_are_put_into_our_order():
    """The authors' merging on their weights, and ours on the converted ones, give the same."""
    from zoo.models.layers.patches import PatchMerging

    torch.manual_seed(0)
    x, norm, reduction = torch.randn(1, 6, 8, 5), torch.randn(20), torch.randn(10, 20)
    four = torch.cat([x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]], -1)
    normed = torch.nn.functional.layer_norm(four, (20,), norm, norm)
    expected = normed @ reduction.T
    ours = PatchMerging(5, 10)
    swapped = OPERATIONS["patch_order"]
    norms = {name: swapped(norm, (20,)) for name in ("norm.weight", "norm.bias")}
    ours.load_state_dict({**norms, "reduction.weight": swapped(reduction, ())})
    assert invert("patch_order", swapped(reduction, ()), ()).equal(reduction)
    torch.testing.assert_close(ours(x), expected)


@pytest.mark.parametrize("architecture", ["retinanet_pvt-t_fpn_1x_coco", "retinanet_pvtv2-b0_fpn_1x_coco"])
def test_training_starts_from_the_authors_pyramid_vision_transformers(architecture, tmp_path):
    state = backbone_state(architecture)
    theirs = to_dialect(state, table("pvt"))
    assert theirs["backbone.block1.0.attn.kv.weight"].shape[0] == 2 * theirs["backbone.block1.0.attn.q.weight"].shape[0]
    assert theirs["backbone.block1.0.mlp.fc1.weight"].dim() == 2
    last = theirs.get("backbone.pos_embed4")
    if last is not None:  # the class token stands in front
        theirs["backbone.pos_embed4"] = torch.cat([torch.full_like(last[:, :1], 9.0), last], 1)
        theirs["backbone.cls_token"] = torch.ones(1, 1, last.shape[2])
    assert_same(start(architecture, theirs | {"backbone.head.weight": torch.ones(9)}, tmp_path), state)


@pytest.mark.parametrize("prefix", ["module.encoder_q.", "module."])
def test_training_starts_from_moco_and_swav(prefix, tmp_path):
    state = backbone_state("faster_rcnn_r50_fpn_1x_coco")
    theirs = {name.replace("backbone.", prefix, 1): tensor for name, tensor in state.items()}
    others = (f"{prefix}fc.0.weight", "module.queue", "module.encoder_k.bn1.bias")
    surplus = {name: torch.ones(9) for name in others}
    torch.save({"epoch": 200, "state_dict": theirs | surplus}, tmp_path / "a.pth")
    network = zoo.build("faster_rcnn_r50_fpn_1x_coco")
    from_backbone(network, tmp_path / "a.pth")
    loaded = {f"backbone.{name}": tensor for name, tensor in network.backbone.state_dict().items()}
    assert_same(loaded, {name: state[name] for name in loaded})


def test_a_folder_for_transformers_is_read_by_it_and_by_us(tmp_path):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    pytest.importorskip("timm", reason="timm is not installed")
    from zoo.cli.main import main

    ours = zoo.build("detr_r50_8x2_150e_coco")
    torch.save({"state_dict": ours.state_dict()}, tmp_path / "detr.pth")
    assert (
        main(["convert", str(tmp_path / "detr.pth"), "--to", "transformers", "--name", "detr_r50_8x2_150e_coco"]) == 0
    )
    folder = tmp_path / "detr-transformers"
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    theirs = transformers.DetrForObjectDetection.from_pretrained(folder).eval()
    assert theirs.config.id2label[1] == "person" and theirs.config.id2label[12] == "N/A"
    image = torch.randn(1, 3, 96, 128)
    with torch.no_grad():
        scores, numbers, _ = their_detections(theirs(image, torch.ones(1, 96, 128, dtype=torch.long)), 96, 128)
        (result,) = ours(image, [(96, 128)])
    assert torch.tensor(COCO_ROWS)[result.labels].equal(numbers)
    torch.testing.assert_close(result.scores, scores, atol=1e-4, rtol=0)
    again = zoo.load_file(folder / "model.safetensors")  # recognized by its names
    assert_same(dict(again.state_dict()), dict(ours.state_dict()))


def test_a_fine_tuned_file_of_transformers_is_recognized_with_its_classes(tmp_path):
    description = zoo.manifest.api.architecture("detr_r50_8x2_150e_coco")
    description["bbox_head"]["num_classes"] = 3
    ours = zoo.build(description)
    from zoo.checkpoint.convert.to_transformers import write_transformers

    folder = write_transformers(ours.state_dict(), tmp_path / "mine", ("cat", "dog", "bird"))
    again = zoo.load_file(folder / "model.safetensors")
    assert again.classes == ("cat", "dog", "bird")
    assert_same(dict(again.state_dict()), dict(ours.state_dict()))


def test_a_dilated_detr_detects_as_in_transformers_and_is_recognized_as_one(tmp_path):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    pytest.importorskip("timm", reason="timm is not installed")
    from zoo.checkpoint.convert.to_transformers import write_transformers

    ours = zoo.build("facebook/detr_r50_dc5")
    folder = write_transformers(ours.state_dict(), tmp_path / "detr", ours.classes, dilation=True)
    theirs = transformers.DetrForObjectDetection.from_pretrained(folder).eval()
    image = torch.randn(1, 3, 96, 128)
    with torch.no_grad():
        expected = their_detections(theirs(image, torch.ones(1, 96, 128, dtype=torch.long)), 96, 128)
        (result,) = ours(image, [(96, 128)])
        (strided,) = filled("detr_r50_8x2_150e_coco", ours.state_dict())(image, [(96, 128)])
    torch.testing.assert_close(result.scores, expected[0], atol=1e-4, rtol=0)
    assert not torch.allclose(result.scores, strided.scores, atol=1e-3)
    again = zoo.load_file(folder / "model.safetensors")
    with torch.no_grad():
        torch.testing.assert_close(again(image, [(96, 128)])[0].scores, result.scores)


def filled(architecture, state):
    network = zoo.build(architecture)
    network.load_state_dict(state)
    return network
