"""Weights in the names of other implementations come back bit for bit."""

from __future__ import annotations

import pickle
import pickletools
from pathlib import Path

import pytest
import torch
from torchvision.models import detection

import zoo
from zoo.checkpoint import load_into, read
from zoo.checkpoint.convert.inverse import to_detectron2
from zoo.checkpoint.convert.rename import adapt
from zoo.checkpoint.convert.to_peer import write
from zoo.checkpoint.convert.to_torchvision import to_torchvision
from zoo.cli import main
from zoo.errors import MismatchedCheckpoint
from zoo.manifest import api

# One network of each kind of layers in Detectron2's zoo.
DETECTRON2 = (
    "cascade_mask_rcnn_X_152_32x8d_FPN_gn_dconv",
    "faster_rcnn_R_50_C4",
    "faster_rcnn_R_50_DC5",
    "keypoint_rcnn_R_50_FPN",
    "mask_rcnn_R_50_FPN_gn",
    "mask_rcnn_regnetx_4gf_dds_FPN_LSJ",
    "mask_rcnn_regnety_4gf_dds_FPN_LSJ",
    "panoptic_fpn_R_101_dconv_cascade_gn",
    "retinanet_R_50_FPN",
    "rpn_R_50_C4",
)
TORCHVISION = sorted(name for name in api.architecture_names() if name.startswith("torchvision/"))


def random_state(name: str) -> dict[str, torch.Tensor]:
    """Random values under the names of an architecture; mask heads of a cascade share theirs."""
    with torch.device("meta"):
        shapes = {key: value for key, value in zoo.build(name).state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    state = {}
    for key, like in shapes.items():
        drawn = torch.randn(like.shape, generator=generator)
        state[key] = drawn if like.is_floating_point() else torch.zeros_like(like, device="cpu")
    for key in state:
        for stage in ("1", "2"):
            first = key.replace(f".mask_head.{stage}.", ".mask_head.0.")
            state[key] = state[first] if first in state else state[key]
    return state


def assert_same(have: dict[str, torch.Tensor], want: dict[str, torch.Tensor]) -> None:
    assert have.keys() == want.keys()
    assert [key for key in want if not torch.equal(have[key], want[key])] == []


@pytest.mark.parametrize("name", DETECTRON2)
def test_detectron2s_names_come_back_bit_for_bit(name: str) -> None:
    name = f"detectron2/{name}"
    state = random_state(name)
    theirs = to_detectron2(state, api.architecture(name)["backbone"]["type"])
    assert not set(theirs) & set(state)
    back, _ = adapt(theirs, {key: tuple(value.shape) for key, value in state.items()})
    assert_same(back, state)


def test_detectron2s_anchors_and_things_are_in_its_order() -> None:
    state = random_state("detectron2/retinanet_R_50_FPN")
    theirs = to_detectron2(state)["head.bbox_pred.bias"].reshape(3, 3, 4)  # sizes, ratios
    assert torch.equal(theirs.transpose(0, 1).flatten(), state["bbox_head.retina_reg.bias"])
    state = random_state("detectron2/panoptic_fpn_R_50")
    assert to_detectron2(state)["sem_seg_head.predictor.bias"][0] == state["semantic_head.conv_logits.bias"][-1]


def test_what_detectron2_has_no_place_for_is_named() -> None:
    with pytest.raises(MismatchedCheckpoint, match=r"no parameter for bbox_head\.\S+, .* and \d+ more"):
        to_detectron2(random_state("atss_r50_fpn_1x_coco"))
    state = random_state("cascade_mask_rcnn_r50_caffe_fpn_1x_coco")
    state["roi_head.mask_head.1.conv_logits.bias"] = state["roi_head.mask_head.1.conv_logits.bias"] + 1
    with pytest.raises(MismatchedCheckpoint, match="differ, but Detectron2 has one"):
        to_detectron2(state)


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvisions_names_come_back_bit_for_bit_and_fit_its_network(name: str) -> None:
    state = random_state(name)
    for key in [key for key in state if "bbox_head.scales" in key]:
        state[key] = torch.ones_like(state[key])  # torchvision has no scale per level
    builder, theirs = to_torchvision(state, 1 if "keypoint" in name else 80)
    # The two networks with MobileNetV3 and a pyramid have the same tensors; only the size of their images differs.
    assert builder == name.removeprefix("torchvision/").removesuffix("_legacy").replace("_320_fpn", "_fpn")
    with torch.device("meta"):
        network = getattr(detection, builder)(weights=None, weights_backbone=None)
    network.load_state_dict(theirs, strict=True, assign=True)
    back, _ = adapt(theirs, {key: tuple(value.shape) for key, value in state.items()})
    assert_same(back, state)


def test_numbers_that_no_category_has_never_win_in_torchvision() -> None:
    _, theirs = to_torchvision(random_state("torchvision/fasterrcnn_resnet50_fpn"), 80)
    bias = theirs["roi_heads.box_predictor.cls_score.bias"]
    assert len(bias) == 91 and (bias == -30).sum() == 10 and bias[12] == -30


def test_a_network_that_torchvision_does_not_have_is_refused() -> None:
    with pytest.raises(MismatchedCheckpoint, match="no network of torchvision"):
        to_torchvision(random_state("atss_r50_fpn_1x_coco"), 80)


@pytest.mark.parametrize(("peer", "suffix"), [("detectron2", ".pkl"), ("mmdet", ".pth"), ("torchvision", ".pth")])
def test_a_converted_file_loads_as_what_it_was(
    peer: str, suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "torchvision/fasterrcnn_resnet50_fpn"
    state = random_state(name)
    source = tmp_path / "a.pth"
    torch.save(state, source)
    assert main.main(["convert", str(source), "--to", peer, "--name", name]) == 0
    target = Path(capsys.readouterr().out.strip())
    assert target == tmp_path / f"a-{peer}{suffix}" and len(list(tmp_path.iterdir())) == 2
    network = zoo.build(name)
    load_into(network, read(target))
    assert_same(dict(network.state_dict()), state)
    assert main.main(["convert", str(source), str(target), "--to", peer, "--name", name]) == 2  # exists
    assert main.main(["convert", str(source), str(tmp_path / "b.txt"), "--to", peer, "--name", name]) == 2


def test_detectron2s_file_has_the_modules_of_numpy_1_which_numpy_2_reads_too(tmp_path: Path) -> None:
    name = "detectron2/rpn_R_50_FPN"
    state = random_state(name)
    path = write(state, "detectron2", tmp_path / "m.pkl")
    modules = {arg for op, arg, _ in pickletools.genops(path.read_bytes()) if op.name == "GLOBAL"}
    assert modules == {"numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype"}
    content = pickle.loads(path.read_bytes())  # written above
    assert sorted(content) == ["__author__", "model"]
    assert content["model"]["backbone.bottom_up.stem.conv1.weight"].dtype == "float32"


def test_a_checkpoint_of_another_architecture_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "a.pth")
    words = ["convert", str(tmp_path / "a.pth"), "--to", "detectron2", "--name", "detectron2/rpn_R_50_FPN"]
    assert main.main(words) == 1
    assert "does not fit the network" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["a.pth"]
