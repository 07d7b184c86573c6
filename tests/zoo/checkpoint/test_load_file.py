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


def test_without_either_it_says_what_to_do(model, tmp_path):
    with pytest.raises(BuildError, match="pass the name"):
        zoo.load_file(saved(tmp_path / "x.pth", model, {}))


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
