"""Manifests of the user's own, and what is said about mistakes in them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import zoo
from zoo.errors import ManifestError, UnknownModel
from zoo.manifest import api, yaml_io
from zoo.preprocessing.recipe import Normalize, Pad, Resize

ROOT = Path(__file__).resolve().parents[3]

OWN = """\
schema: 1
family: yolox
preprocessing:
  letterbox_416_rgb:
    steps:
      - resize: {scale: [416, 416]}
      - pad: {size: [416, 416], value: 114}
      - normalize
architectures:
  yolox_nano_0.1: {base: yolox_nano_8x8_300e_coco, test_cfg: {score_thr: 0.2}}
models:
  yolox_nano_0.1:
    aliases: [my_yolox]
    checkpoint: {file: weights/yolox_nano.pth}
    dataset: coco_2017
    tasks: [object detection]
    normalization: torchvision
    preprocessing: letterbox_416_rgb
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Writes a manifest and switches it on."""
    monkeypatch.setattr(api, "_added", [])

    def write(text=OWN):
        path = tmp_path / "own.yaml"
        path.write_text(text)
        api._catalog.cache_clear()
        api.use(path)
        return path

    yield write
    api._catalog.cache_clear()


def test_a_users_model_is_found_like_any_other(own):
    path = own()
    entry = api.get("my_yolox")
    assert entry.name == "yolox_nano_0.1" and entry.origin == "user"
    assert entry.checkpoint.file == path.parent / "weights" / "yolox_nano.pth"
    assert "yolox_nano_0.1" in api.list_models(family="yolox")


def test_a_user_can_state_an_older_preprocessing(own):
    own()
    resize, pad, normalize = api.preprocessing("my_yolox").steps
    assert resize == Resize(scale=(416, 416)) and pad == Pad(size=(416, 416), value=(114.0, 114.0, 114.0))
    assert isinstance(normalize, Normalize) and normalize.normalization.to_rgb


def test_a_users_architecture_states_differences_only(own):
    own()
    mine, base = api.architecture("my_yolox"), api.architecture("yolox_nano_8x8_300e_coco")
    assert mine["test_cfg"].pop("score_thr") == 0.2 and base["test_cfg"].pop("score_thr") == 0.01
    assert mine == base


def test_an_architecture_without_a_model_can_be_built_and_knows_no_preprocessing(own):
    own("schema: 1\narchitectures:\n  lone: {base: yolox_nano_8x8_300e_coco}\n")
    network = zoo.build("lone")
    assert network.preprocess is None and network.classes is None and network.label_count == 80
    with pytest.raises(UnknownModel, match="add a model with `preprocessing`"):
        zoo.preprocessor("lone")


def test_a_taken_name_is_told_with_both_places(own, tmp_path):
    with pytest.raises(ManifestError, match=r"own\.yaml:12: .* already taken in .*ssd\.yaml:\d+"):
        own(OWN.replace("models:\n  yolox_nano_0.1:", "models:\n  ssd300_coco:"))


def test_a_users_mirror_comes_first(own):
    own("schema: 1\nmirrors:\n  - {name: lab, url: https://lab.example/zoo/}\n")
    assert api.get("faster_rcnn_r50").checkpoint.urls[0].startswith("https://lab.example/zoo/v2.0/faster_rcnn/")


MISTAKES = [
    ("[416, 416]}\n      - pad", "[416]}\n      - pad", 6, "scale: must have 2 numbers, not 1"),
    ("torchvision", "torchvison", 17, "normalization: there is no normalization named 'torchvison'"),
    ("my_yolox", "yolox_s", 13, "aliases: 'yolox_s' already means yolox_s_8x8_300e_coco"),
    ("base: yolox_nano", "base: yolox_none", 10, "base: no component or architecture is named 'yolox_none_8x8"),
    ("schema: 1", "schema: 2", 1, "schema: this version reads schema 1, not 2"),
    ("schema: 1\n", "", 1, "the file: 'schema' is missing"),
    ("value: 114", "valu: 114", 7, "valu: there is no such field; known are divisor"),
    ("tasks:", "task:", 16, "task: there is no such field"),
    ("steps:", "steps: [", 6, "not valid YAML"),
    ("- normalize", "- normlize", 8, "steps.2: must be `normalize`"),
    ("      - normalize\n", "", 4, "letterbox_416_rgb: the model has a normalization but the recipe has no"),
    ("test_cfg:", "without: [nothing], test_cfg:", 10, "without: 'nothing' is not inherited"),
    ("base: yolox_nano_8x8_300e_coco", "base: yolox_nano_0.1", 10, "is its own base"),
    ("models:", "architectures:", 11, "architectures: this key appears twice"),
    ("{file: weights/yolox_nano.pth}", "{path: a.pth, sha256: 12345678}", 14, "must be 8 or 64"),
    ("{file: weights/yolox_nano.pth}", "{format: mmdet-v2}", 14, "needs one of path, file"),
    ("    dataset: coco_2017\n", "", 12, "states no dataset"),
    ("models:\n  yolox_nano_0.1:", "models:\n  ssd300_coco:", 12, "already taken in"),
    ("models:\n  yolox_nano_0.1:", "models:\n  yolox_s:", 12, "already is another one of yolox_s_8x8_300e_coco, in"),
    ("    tasks:", "    metrics: {coco_2017_val: {box_app: 1}}\n    tasks:", 16, "no dataset has the metric 'box_app'"),
    ("architectures:\n  yolox_nano_0.1:", "components:\n  ssd300_coco:", 10, "already taken in"),
    (OWN, "- a list", 1, "the file: must be a mapping"),
    (OWN, "", 1, "the file: must be a mapping, not empty"),
]


@pytest.mark.parametrize(("old", "new", "line", "sentence"), MISTAKES, ids=[m[3][:40] for m in MISTAKES])
def test_a_mistake_is_reported_as_file_line_field_sentence(own, tmp_path, old, new, line, sentence):
    with pytest.raises(ManifestError) as caught:
        own(OWN.replace(old, new))
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'own.yaml'}:{line}: ") and sentence in message


def test_after_a_mistake_the_file_is_forgotten(own):
    with pytest.raises(ManifestError):
        own("schema: 1\nmodel: {}\n")
    assert api.get("ssd300").name == "ssd300_coco"


def run(*arguments, **environment):
    command = [sys.executable, "-m", "zoo.cli.main", *arguments]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True)


def test_commands_take_manifests_as_option_and_from_the_environment(tmp_path):
    (tmp_path / "own.yaml").write_text(OWN)
    shown = run("show", "my_yolox", "--json", "--manifest", str(tmp_path / "own.yaml"))
    assert json.loads(shown.stdout)["name"] == "yolox_nano_0.1"
    listed = run("list", "my_*", "--json", ZOO_MANIFESTS=str(tmp_path / "own.yaml"))
    assert [row["name"] for row in json.loads(listed.stdout)] == ["yolox_nano_0.1"]


def test_a_missing_manifest_is_one_sentence(tmp_path):
    result = run("list", "--manifest", str(tmp_path / "none.yaml"))
    assert result.returncode == 1 and result.stdout == ""
    assert result.stderr.splitlines() == [f"zoo: {tmp_path / 'none.yaml'}: cannot be read: No such file or directory"]


# The cache of parsed files


def test_the_cache_notices_a_changed_file(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "a.yaml"
    path.write_text("schema: 1\nfamily: one\n")
    assert yaml_io.read_cached([path], lambda *_: None)[path]["family"] == "one"
    path.write_text("schema: 1\nfamily: three\n")
    assert yaml_io.read_cached([path], lambda *_: None)[path]["family"] == "three"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 1}', '{"format": 1, "stamps": {}, "content": {}}'])
def test_a_damaged_cache_is_ignored(tmp_path, monkeypatch, content):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "a.yaml"
    path.write_text("schema: 1\n")
    yaml_io.read_cached([path], lambda *_: None)
    (cache,) = (tmp_path / "cache").iterdir()
    cache.write_text(content)
    assert yaml_io.read_cached([path], lambda *_: None) == {path: {"schema": 1}}


def test_an_unwritable_cache_is_ignored(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "file" / "cache"))
    path = tmp_path / "a.yaml"
    path.write_text("schema: 1\n")
    assert yaml_io.read_cached([path], lambda *_: None) == {path: {"schema": 1}}
