"""Files whose names say whose they are, but whose tensors several networks have: told apart, or said, never guessed."""

from __future__ import annotations

import hashlib

import pytest
import torch

import zoo
from tests.zoo.checkpoint.test_dialects import random_state
from zoo.checkpoint.convert.tables import table
from zoo.checkpoint.convert.to_dialect import to_dialect
from zoo.checkpoint.convert.to_transformers import write_transformers
from zoo.download import recognize
from zoo.errors import BuildError
from zoo.manifest import api
from zoo.models import recognized

STRIDED, DILATED = "detr_r50_8x2_150e_coco", "facebook/detr_r50_dc5"
TABLES = ("facebook_detr", "transformers")
KNOWN = (*TABLES, "megvii_yolox", "solo", "transformers_conditional_detr", "transformers_dab_detr")


@pytest.fixture(scope="module")
def detr():
    torch.manual_seed(0)
    return zoo.build(STRIDED).state_dict()


def is_dilated(network):
    return network.backbone.layer4[-1].conv2.dilation == (2, 2)


def saved(state, path, dialect="facebook_detr"):
    torch.save({"model": to_dialect(state, table(dialect))}, path)
    return path


@pytest.mark.parametrize("dialect", [TABLES[0], pytest.param(TABLES[1], marks=pytest.mark.slow)])
def test_a_renamed_detr_that_may_be_strided_or_dilated_is_said_to_be_both(detr, tmp_path, dialect):
    path = saved(detr, tmp_path / "best.pth", dialect)
    with pytest.raises(BuildError) as caught:
        zoo.load_file(path)
    sentence = str(caught.value)
    assert f"has the tensors of {STRIDED} and of {DILATED}, which detect differently" in sentence
    assert "--name" in sentence
    assert not is_dilated(zoo.load_file(path, STRIDED)) and is_dilated(zoo.load_file(path, DILATED))


def test_the_name_of_a_published_file_says_that_it_is_dilated(detr, tmp_path):
    assert is_dilated(zoo.load_file(saved(detr, tmp_path / "detr-r50-dc5-f0fb7ef5.pth")))


@pytest.mark.parametrize("dilation", [False, True])
def test_the_configuration_beside_a_file_says_which_it_is(detr, tmp_path, dilation):
    folder = write_transformers(detr, tmp_path / "x-dc5", dilation=dilation)  # what the folder is called says nothing
    assert is_dilated(zoo.load_file(folder / "model.safetensors")) == dilation


@pytest.mark.parametrize("name", ["facebook/detr_r50", "facebook/detr_r50_dc5"])
def test_the_content_of_a_published_file_says_which_it_is_whatever_it_is_called(detr, tmp_path, monkeypatch, name):
    path = saved(detr, tmp_path / "x-dc5.pth")
    entry, digest = api.get(name), hashlib.sha256(path.read_bytes()).hexdigest()

    def files_of(other):  # as if this were the file that was published
        return [recognize.RemoteFile("x", (), digest[:8])] if other.name == entry.name else []

    monkeypatch.setattr(recognized, "files_of", files_of)
    assert is_dilated(zoo.load_file(path)) == (name == "facebook/detr_r50_dc5")


@pytest.mark.parametrize("dialect", [TABLES[0], pytest.param(TABLES[1], marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("name", "shared"), [("sensetime/deformable_detr_r50", True), ("sensetime/deformable_detr_r50_refine", False)]
)
def test_deformable_detr_refines_boxes_where_its_layers_have_predictors_of_their_own(tmp_path, dialect, name, shared):
    state = random_state(name)
    if shared:
        for key in [key for key in state if "_branches." in key]:
            head, _, rest = key.partition("_branches.")
            state[key] = state[f"{head}_branches.0.{rest.partition('.')[2]}"]
    network = zoo.load_file(saved(state, tmp_path / "x.pth", dialect))
    assert network.bbox_head.with_box_refine is not shared


def test_a_dialect_lists_every_network_of_the_zoo_with_the_tensors_of_one_of_its_own():
    """An architecture that has the tensors of a listed one, and computes something else, must be listed too."""
    sizes = {name: stated.value for name, stated in api.catalog().parameters.items()}
    listed = {name for dialect in KNOWN for name in table(dialect).architectures}
    for name in sorted(listed):
        same_size = [each for each in sizes if sizes[each] == sizes[name] and each not in listed]
        others = [each for each in same_size if computed(each) != computed(name)]
        shapes = recognized.shapes_of(api.architecture(name)) if others else {}
        assert [each for each in others if recognized.shapes_of(api.architecture(each)) == shapes] == [], name


def computed(name):
    """What decides the results of an architecture, apart from its training."""
    return inference(api.architecture(name))


def inference(value):
    """A description without what only training reads."""
    training = ("train_cfg", "frozen_stages", "norm_eval", "init_cfg", "with_cp", "drop", "loss")
    if isinstance(value, dict):
        return {key: inference(item) for key, item in value.items() if not any(word in key for word in training)}
    return [inference(item) for item in value] if isinstance(value, list) else value
