"""Conditional DETR, DAB-DETR, MaskFormer and Mask2Former in the names of transformers: read, written, and compared."""

from __future__ import annotations

import pytest
import torch

import zoo
from tests.zoo.checkpoint.test_convert_to_peers import assert_same
from tests.zoo.checkpoint.test_dialects import random_state, shapes
from zoo.checkpoint.convert.rename import adapt
from zoo.checkpoint.convert.reorder import COCO_ROWS
from zoo.checkpoint.convert.tables import table
from zoo.checkpoint.convert.to_dialect import to_dialect
from zoo.checkpoint.convert.to_transformers import tensors, write_transformers
from zoo.cli.main import main
from zoo.errors import BuildError, MismatchedCheckpoint
from zoo.manifest import api

MASKFORMER, MASK2FORMER = "transformers_maskformer", "transformers_mask2former"
OF_3X = {  # the same networks under the names of MMDetection 3.x
    MASKFORMER: ["maskformer_swin-l-p4-w12_64xb1-ms-300e_coco"],
    MASK2FORMER: [
        "mask2former_r50_8xb2-lsj-50e_coco",
        "mask2former_r101_8xb2-lsj-50e_coco",
        "mask2former_swin-t-p4-w7-224_8xb2-lsj-50e_coco",
        "mask2former_swin-s-p4-w7-224_8xb2-lsj-50e_coco",
        "mask2former_r50_8xb2-lsj-50e_coco-panoptic",
        "mask2former_r101_8xb2-lsj-50e_coco-panoptic",
        "mask2former_swin-t-p4-w7-224_8xb2-lsj-50e_coco-panoptic",
        "mask2former_swin-s-p4-w7-224_8xb2-lsj-50e_coco-panoptic",
        "mask2former_swin-b-p4-w12-384-in21k_8xb2-lsj-50e_coco-panoptic",
        "mask2former_swin-l-p4-w12-384-in21k_16xb1-lsj-100e_coco-panoptic",
    ],
}
KINDS = ("transformers_conditional_detr", "transformers_dab_detr", MASKFORMER, MASK2FORMER)
ALL = [(kind, name) for kind in KINDS for name in (*table(kind).architectures, *OF_3X.get(kind, ()))]
SWIN_T = {"embed_dims": 96, "depths": [2, 2, 6, 2], "num_heads": [3, 6, 12, 24], "window_size": 7}


def marked(kind, name):
    large = any(size in name for size in ("swin-l", "swin-b", "swin-s", "r101")) or name in OF_3X.get(kind, ())
    return pytest.param(kind, name, marks=[pytest.mark.slow] if large else [])


@pytest.mark.parametrize(("kind", "name"), [marked(*pair) for pair in ALL])
def test_names_come_back_bit_for_bit(kind, name):
    state = random_state(name)
    back, used = adapt(to_dialect(state, table(kind)), shapes(state))
    assert_same(back, state)
    assert used == [table(kind).title]


def test_a_pixel_decoder_that_transformers_does_not_have_is_named():
    with pytest.raises(MismatchedCheckpoint, match=r"transformers \(MaskFormer\) has no parameter for .*encoder"):
        tensors(random_state("maskformer_r50_mstrain_16x1_75e_coco"))


def swin_t_maskformer():
    """The network with Swin-L, with a smaller Swin Transformer."""
    description = api.architecture("maskformer_swin-l-p4-w12_mstrain_64x1_300e_coco")
    description["backbone"] |= SWIN_T
    description["panoptic_head"]["in_channels"] = [96, 192, 384, 768]
    return zoo.build(description)


def moved_from_its_start(network):
    """Weights that are nowhere zero or equal by chance, as those of a trained network."""
    torch.manual_seed(1)
    with torch.no_grad():
        for tensor in network.parameters():
            tensor.add_(torch.randn_like(tensor) * (0.02 if tensor.dim() > 1 else 0.05))
        for name, tensor in network.named_buffers():
            if "running" in name:
                tensor.add_(torch.rand_like(tensor) * 0.2)
    return network.eval()


@pytest.mark.parametrize(
    ("name", "kind"),
    [("conditional-detr_r50_8xb2-50e_coco", "ConditionalDetr"), ("dab-detr_r50_8xb2-50e_coco", "DabDetr")],
)
def test_transformers_detects_the_same_with_our_weights_and_the_folder_is_recognized(name, kind, tmp_path):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    ours = moved_from_its_start(zoo.build(name))
    torch.save({"state_dict": ours.state_dict()}, tmp_path / "x.pth")
    assert main(["convert", str(tmp_path / "x.pth"), "--to", "transformers", "--name", name]) == 0
    folder = tmp_path / "x-transformers"
    theirs, report = getattr(transformers, f"{kind}ForObjectDetection").from_pretrained(
        folder, output_loading_info=True
    )
    assert (report["missing_keys"], report["unexpected_keys"], report["mismatched_keys"]) == ([], [], [])
    assert theirs.config.id2label[1] == "person" and theirs.config.id2label[12] == "N/A"
    image = torch.randn(2, 3, 128, 160)
    mask = torch.ones(2, 128, 160, dtype=torch.long)
    mask[1, :, 128:] = 0  # the second image is padded
    geometries = [ours.input_geometry(image, size) for size in ((128, 160), (128, 128))]
    with torch.no_grad():
        expected = theirs.eval()(image, mask)
        logits, boxes = ours.outputs(image, geometries)[:2]
    scores = expected.logits.sigmoid()[..., COCO_ROWS]  # query by query, since those of random weights score alike
    torch.testing.assert_close(logits[-1].sigmoid(), scores, atol=1e-4, rtol=0)
    torch.testing.assert_close(boxes[-1], expected.pred_boxes, atol=1e-4, rtol=0)
    unused = sorted(set(range(91)) - set(COCO_ROWS))
    assert expected.logits.sigmoid()[..., unused].max() < 1e-12
    assert_same(dict(zoo.load_file(folder / "model.safetensors").state_dict()), dict(ours.state_dict()))


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        ("MaskFormerForInstanceSegmentation", swin_t_maskformer),
        pytest.param(
            "Mask2FormerForUniversalSegmentation",
            lambda: zoo.build("mask2former_r50_lsj_8x2_50e_coco"),
            marks=pytest.mark.slow,
        ),
        (
            "Mask2FormerForUniversalSegmentation",
            lambda: zoo.build("mask2former_swin-t-p4-w7-224_lsj_8x2_50e_coco-panoptic"),
        ),
    ],
    ids=["MaskFormer Swin", "Mask2Former ResNet", "Mask2Former Swin"],
)
def test_transformers_segments_the_same_with_our_weights(kind, make, tmp_path):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    ours = moved_from_its_start(make())
    folder = write_transformers(ours.state_dict(), tmp_path / "x")
    theirs, report = getattr(transformers, kind).from_pretrained(folder, output_loading_info=True)
    assert (report["missing_keys"], report["unexpected_keys"], report["mismatched_keys"]) == ([], [], [])
    assert theirs.criterion.empty_weight[-1] == pytest.approx(0.1)
    image = torch.randn(1, 3, 256, 320)
    with torch.no_grad():
        expected = theirs.eval()(image)
        logits, masks = ours.outputs(image, [ours.input_geometry(image, (256, 320))])
    have, want = logits[-1].softmax(-1), expected.class_queries_logits.softmax(-1)
    torch.testing.assert_close(have, want, atol=1e-4, rtol=0)
    torch.testing.assert_close(masks[-1].sigmoid(), expected.masks_queries_logits.sigmoid(), atol=1e-4, rtol=0)
    back, _ = adapt(theirs.state_dict(), shapes(ours.state_dict()))
    assert_same(back, dict(ours.state_dict()))


def test_a_folder_of_mask2former_is_recognized_without_a_name(tmp_path):
    name = "mask2former_r50_lsj_8x2_50e_coco-panoptic"
    ours = zoo.build(name)
    folder = write_transformers(ours.state_dict(), tmp_path / "x", ours.classes or ())
    again = zoo.load_file(folder / "model.safetensors")
    assert again.description == ours.description
    assert_same(dict(again.state_dict()), dict(ours.state_dict()))


def test_other_numbers_of_classes_that_do_not_tell_things_from_stuff_need_a_name(tmp_path):
    description = api.architecture("mask2former_r50_lsj_8x2_50e_coco")
    description["panoptic_head"] |= {"num_things_classes": 7}
    description["panoptic_fusion_head"] |= {"num_things_classes": 7}
    folder = write_transformers(zoo.build(description).state_dict(), tmp_path / "x")
    with pytest.raises(BuildError, match="pass the name of a model"):
        zoo.load_file(folder / "model.safetensors")
