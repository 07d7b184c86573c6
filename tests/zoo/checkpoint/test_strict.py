"""Strict loading, and errors that guess why a file does not fit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.zoo.checkpoint.naming import shapes, zeros
from zoo.checkpoint import Checkpoint, load_into
from zoo.checkpoint.convert.diagnosis import guess
from zoo.errors import MismatchedCheckpoint


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


@pytest.mark.parametrize("assign", [False, True])
def test_a_file_that_fits_is_loaded(assign):
    source, target = network(), network()
    nn.init.ones_(source[0].weight)
    state = {
        name: tensor.double() if tensor.is_floating_point() else tensor for name, tensor in source.state_dict().items()
    }
    load_into(target, Checkpoint(state), assign=assign)
    assert torch.equal(target[0].weight, source[0].weight) and target[0].weight.dtype == torch.float32
    assert target[0].weight.requires_grad


def test_copying_leaves_the_checkpoint_alone():
    state = network().state_dict()
    target = network()
    load_into(target, Checkpoint(state))
    target[0].weight.data.zero_()
    assert state["0.weight"].abs().sum() > 0


def test_a_file_that_does_not_fit_changes_nothing():
    target = network()
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    state = {**network().state_dict(), "0.bias": torch.zeros(5)}
    state["0.weight"] = torch.zeros_like(state["0.weight"])
    with pytest.raises(MismatchedCheckpoint, match=r"0\.bias is \[5\], not \[4\]"):
        load_into(target, Checkpoint(state))
    assert all(torch.equal(tensor, before[name]) for name, tensor in target.state_dict().items())


def test_the_first_differing_names_are_listed():
    state = network().state_dict()
    state["2.extra"] = state.pop("0.weight")
    with pytest.raises(MismatchedCheckpoint, match=r"lacks 0\.weight; the network has no 2\.extra"):
        load_into(network(), Checkpoint(state))


FASTER = "faster_rcnn_r50_fpn_1x_coco"


def changed(name, change):
    return {key: change(key, shape) for key, shape in shapes(name).items()}


def test_another_number_of_classes_is_recognized():
    other = changed(FASTER, lambda k, s: (21, *s[1:]) if "fc_cls" in k else (80, *s[1:]) if "fc_reg" in k else s)
    assert "another number of classes (its metadata lists 20)" in guess(other, shapes(FASTER), 20)


def test_another_depth_is_recognized():
    deeper = shapes(FASTER) | {f"backbone.layer3.{n}.conv1.weight": (1,) for n in range(23)}
    assert "depth 101" in guess(deeper, shapes(FASTER))


def test_names_of_version_3_are_recognized():
    result = {f"encoder.layers.{n}.self_attn.attn.x": (1,) for n in range(6)}
    assert "MMDetection 3.x" in guess(result, shapes("detr_r50_8x2_150e_coco"))


def test_averaged_weights_are_recognized():
    result = {f"ema_{key.replace('.', '_')}": shape for key, shape in shapes(FASTER).items()}
    assert "EMA" in guess(result, shapes(FASTER))


def test_another_architecture_is_recognized():
    assert "another architecture" in guess(shapes("yolox_nano_8x8_300e_coco"), shapes(FASTER))


def test_another_width_is_recognized():
    wider = changed("yolox_nano_8x8_300e_coco", lambda _, s: tuple(2 * size for size in s))
    assert "another width" in guess(wider, shapes("yolox_nano_8x8_300e_coco"))


def test_a_wrapped_network_is_recognized():
    wrapped = {f"net.{key}": shape for key, shape in shapes(FASTER).items()}
    assert "'net.'" in guess(wrapped, shapes(FASTER))


def test_prefixes_of_data_parallel_training_are_taken_off():
    source = network()
    load_into(network(), Checkpoint({f"module.{name}": tensor for name, tensor in source.state_dict().items()}))


def test_a_message_is_one_line_and_names_the_file(tmp_path):
    with pytest.raises(MismatchedCheckpoint) as error:
        load_into(network(), Checkpoint(zeros("rpn_r50_fpn_1x_coco"), path=tmp_path / "x.pth"))
    assert "\n" not in str(error.value) and "x.pth" in str(error.value)
