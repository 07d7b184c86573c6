"""Checkpoints as people have them: compiled, wrapped, with any suffix or none, diverged, or of another project."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import zoo
from zoo.checkpoint.convert.diagnosis import explain
from zoo.cli.checkpoint_files import means_file
from zoo.errors import CorruptCheckpoint

NAME = "yolox_nano_8x8_300e_coco"


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return zoo.build(NAME).state_dict()


@pytest.mark.parametrize(
    "prefix", ["_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model._orig_mod.", "module.model."]
)
@pytest.mark.parametrize("suffix", [".pth"])
def test_prefixes_of_compiling_and_wrapping_are_read(
    prefix: str, suffix: str, state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = tmp_path / f"x{suffix}"
    torch.save({prefix + name: tensor for name, tensor in state.items()}, path)
    loaded = zoo.load_file(path, NAME).state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items())


def test_parts_that_were_compiled_are_read(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    renamed = {name.replace("backbone.", "backbone._orig_mod.", 1): tensor for name, tensor in state.items()}
    torch.save(renamed, tmp_path / "x.pth")
    assert zoo.load_file(tmp_path / "x.pth", NAME).state_dict().keys() == state.keys()


@pytest.mark.parametrize("file", ["x.ckpt", "x.pth.tar", "X.PTH", "x.bin", "weights", "epoch_12"])
def test_files_of_any_suffix_or_none_are_checkpoints(
    file: str, state: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(state, file)
    assert means_file(file)
    assert zoo.load_file(file, NAME).state_dict().keys() == state.keys()


def test_a_models_name_is_no_file_even_beside_one_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faster_rcnn_r50").write_text("")
    assert not means_file("faster_rcnn_r50")
    assert not means_file("weights")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(
    value: float, state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    name = "bbox_head.multi_level_conv_cls.0.weight"
    broken = state[name].clone()
    broken[0, 0] = value
    torch.save(state | {name: broken}, tmp_path / "x.pth")
    with pytest.raises(CorruptCheckpoint, match=rf"x\.pth: {name} has values that are NaN or infinite"):
        zoo.load_file(tmp_path / "x.pth", NAME)


PROJECTS = {
    "YOLOX's authors": ["backbone.backbone.dark2.0.conv.weight", "head.cls_preds.0.weight"],
    "Ultralytics": ["model.0.conv.weight", "model.24.m.0.weight"],
    "DETR's authors": ["transformer.encoder.layers.0.linear1.weight", "class_embed.weight", "query_embed.weight"],
    "Hugging Face": ["model.backbone.conv_encoder.model.conv1.weight", "class_labels_classifier.weight"],
    "Mask2Former": ["sem_seg_head.predictor.query_feat.weight"],
    "timm": ["patch_embed.proj.weight", "head.weight"],
}


@pytest.mark.parametrize("project", PROJECTS)
def test_files_of_other_projects_are_named(project: str, state: dict[str, torch.Tensor]) -> None:
    expected = {name: tuple(tensor.shape) for name, tensor in state.items()}
    sentence = explain({name: (1,) for name in PROJECTS[project]}, expected)
    assert project in sentence
    assert "another architecture" not in sentence


@pytest.mark.parametrize("stream", ["<&-", ">&-", "2>&-"])
def test_closed_streams_are_no_traceback(stream: str) -> None:
    command = f'"{sys.executable}" -m zoo list faster_rcnn_r50_fpn_1x_coco {stream}'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert done.returncode == (1 if stream == ">&-" else 0)
