"""A checkpoint of the user's own becomes a network, with and without a name."""

from __future__ import annotations

import pytest
import torch

import zoo
from zoo.errors import BuildError, CorruptCheckpoint, MismatchedCheckpoint, UnsafeCheckpoint
from zoo.manifest import api

NAME = "yolox_nano_8x8_300e_coco"
PIPELINE = """
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='MultiScaleFlipAug', img_scale=(416, 416), flip=False, transforms=[
        dict(type='Resize', keep_ratio=True), dict(type='RandomFlip'),
        dict(type='Pad', pad_to_square=True, pad_val=dict(img=(114.0, 114.0, 114.0))),
        dict(type='DefaultFormatBundle'), dict(type='Collect', keys=['img'])])]
data = dict(test=dict(pipeline=test_pipeline))
"""


def as_text(value):
    """Plain data as MMDetection writes configurations."""
    if isinstance(value, dict):
        return f"dict({', '.join(f'{key}={as_text(item)}' for key, item in value.items())})"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(as_text, value))}]"
    return repr(value)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return zoo.build(NAME)


def saved(path, model, meta):
    torch.save({"meta": meta, "state_dict": model.state_dict()}, path, _use_new_zipfile_serialization=False)
    return path


def test_with_a_name(model, tmp_path):
    loaded = zoo.load_file(saved(tmp_path / "x.pth", model, {}), NAME)
    assert not loaded.training
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in loaded.state_dict().items())


def test_without_a_name_the_stored_configuration_describes_the_network(model, tmp_path):
    text = f"model = {as_text(api.architecture(NAME))}\n{PIPELINE}"
    path = saved(tmp_path / "x.pth", model, {"config": text, "CLASSES": tuple(f"class {n}" for n in range(80))})
    loaded = zoo.load_file(path)
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in loaded.state_dict().items())
    assert loaded.classes[:2] == ("class 0", "class 1")
    assert loaded.preprocess(torch.zeros(100, 200, 3, dtype=torch.uint8).numpy()).image.shape == (3, 416, 416)


def test_without_either_it_says_what_to_do_and_which_architecture_is_nearest(model, tmp_path):
    with pytest.raises(BuildError, match=rf"pass the name of a model \(--name NAME\).*{NAME} \(100% of the tensors\)"):
        zoo.load_file(saved(tmp_path / "x.pth", model, {}))


def test_the_nearest_architecture_is_named_for_other_classes_and_wrapped_names_too(model, tmp_path):
    state = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
    for name in [name for name in state if "conv_cls" in name]:
        state[name] = state[name][:3].clone()
    torch.save({"state_dict": state}, tmp_path / "x.pth")
    with pytest.raises(BuildError, match=rf"nearest by its tensors: {NAME} \(9\d% of the tensors\)"):
        zoo.load_file(tmp_path / "x.pth")


def test_a_file_that_resembles_nothing_is_said_to(tmp_path):
    torch.save({"state_dict": {"a.weight": torch.zeros(1000, 5000)}}, tmp_path / "x.pth")
    with pytest.raises(BuildError, match="no architecture has tensors like its own"):
        zoo.load_file(tmp_path / "x.pth")


def test_another_network_is_a_sentence(model, tmp_path):
    with pytest.raises(MismatchedCheckpoint, match=r"x\.pth does not fit"):
        zoo.load_file(saved(tmp_path / "x.pth", model, {}), "yolox_s_8x8_300e_coco")


def test_broken_and_hostile_files_are_refused(tmp_path):
    (tmp_path / "x.pth").write_bytes(b"\x80\x02cos\nsystem\nX\x08\x00\x00\x00touch /x\x85R.")
    with pytest.raises(UnsafeCheckpoint):
        zoo.load_file(tmp_path / "x.pth", NAME)
    (tmp_path / "y.pth").write_bytes(b"\x80\x02")
    with pytest.raises(CorruptCheckpoint):
        zoo.load_file(tmp_path / "y.pth", NAME)
