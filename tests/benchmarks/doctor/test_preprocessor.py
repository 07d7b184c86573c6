"""`bench doctor --preprocessor` names what a function does otherwise than the model's published preprocessing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import zoo
from benchmarks.cli import main
from benchmarks.doctor import preprocessor
from benchmarks.doctor.pipelines import pipelines
from zoo.coco_format.image_files import ORIENTATION
from zoo.manifest import api

MODEL = "retinanet_r50_fpn_1x_coco"
BODIES = {
    "right": "return published(path).image",
    "batch of one": "return published(path).image[None].numpy()",
    "channels": "return published(cv2.imread(path)[:, :, ::-1].copy()).image",
    "unit-range": "return (published(path).image * STD + MEAN) / 255",
    "layout": "return published(path).image.permute(1, 2, 0)",
    "normalization": "return (published(path).image * STD + MEAN - 100) / 50",
    "input-size": "return np.zeros((3, 640, 672))",
    "unknown": "return published(path).image.flip(2)",
    "resize-nearest": "return published(nearest(cv2.imread(path))).image",
    "resize-area": "return published(nearest(cv2.imread(path), cv2.INTER_AREA)).image",
}
SOURCE = """
import cv2, numpy as np, torch, zoo
published = zoo.preprocessor("retinanet_r50_fpn_1x_coco")
MEAN = torch.tensor([123.675, 116.28, 103.53])[:, None, None]
STD = torch.tensor([58.395, 57.12, 57.375])[:, None, None]
def nearest(image, how=cv2.INTER_NEAREST):
    height, width = image.shape[:2]
    scale = min(1333 / max(height, width), 800 / min(height, width))
    return cv2.resize(image, (int(width * scale + 0.5), int(height * scale + 0.5)), interpolation=how)
def prepare(path):
    {body}
"""


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Three images of different sizes."""
    random = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for number, size in enumerate(((60, 90), (80, 50), (64, 64))):
        image = cv2.resize(random.integers(0, 255, (9, 9, 3)).astype(np.uint8), size[::-1])
        cv2.imwrite(str(tmp_path / "images" / f"{number}.png"), image)
    return tmp_path / "images"


def examined(
    name: str, images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], body: str
) -> tuple[int, Any]:
    """The status and the JSON for a function with this body."""
    module = f"prepare_{abs(hash(name))}"
    (images.parent / f"{module}.py").write_text(SOURCE.format(body=body))
    monkeypatch.chdir(images.parent)
    arguments = ["doctor", "--preprocessor", f"{module}:prepare", "--model", MODEL, "--images", str(images), "--json"]
    status = main.main(arguments)
    captured = capsys.readouterr()
    return status, json.loads(captured.out) if not status else captured.err


@pytest.mark.parametrize("name", BODIES)
def test_a_mistake_in_a_function_is_named(
    name: str, images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, result = examined(name, images, monkeypatch, capsys, BODIES[name])
    assert status == 0
    expected = [] if name in ("right", "batch of one") else [name]
    assert [one["key"] for one in result["explanations"]] == expected
    if name == "normalization":
        assert "mean (100, 100, 100) and deviation (50, 50, 50)" in result["explanations"][0]["sentence"]


def test_a_function_that_ignores_exif_is_named(
    images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    for path in sorted(images.iterdir())[:1]:  # shown as the others are, stored a quarter to the left
        exif = Image.Exif()
        exif[ORIENTATION] = 6
        Image.open(path).transpose(Image.Transpose.ROTATE_90).save(images / "turned.jpg", exif=exif, quality=98)
    ignoring = "return published(cv2.imread(path, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)).image"
    status, result = examined("exif", images, monkeypatch, capsys, ignoring)
    assert status == 0
    assert [one["key"] for one in result["explanations"]] == ["exif"]
    status, result = examined("upright", images, monkeypatch, capsys, BODIES["right"])
    assert result["explanations"] == []


@pytest.mark.parametrize(
    ("body", "sentence"),
    [("raise KeyError('x')", "failed for"), ("return np.zeros((2, 2))", "returns an array of shape (2, 2)")],
)
def test_a_function_that_fails_is_told_in_one_sentence(
    body: str, sentence: str, images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, said = examined(body, images, monkeypatch, capsys, body)
    assert status == 1
    assert sentence in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("name", ["nomodule_x:f", "json:nothing", "json", "json:__doc__"])
def test_a_function_that_does_not_exist_is_an_error_of_usage(
    name: str, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["doctor", "--preprocessor", name, "--model", MODEL, "--images", str(images)]) == 2
    assert "--preprocessor" in capsys.readouterr().err


@pytest.mark.parametrize("model", ["retinanet_r50_fpn_1x_coco", "yolox_s_8x8_300e_coco", "ssd300_coco", "detr_r50"])
def test_every_known_mistake_gives_another_input(model: str, images: Path) -> None:
    path = sorted(images.iterdir())[0]
    listed = list(pipelines(api.preprocessing(model)))
    inputs = {one.key: one.prepare(path).image.numpy() for one in listed if one.key != "exif"}
    assert len(inputs) == len(listed) - 1
    published = zoo.preprocessor(model)(path).image.numpy()
    assert np.array_equal(inputs.pop(""), published)
    for key, array in inputs.items():
        assert array.shape != published.shape or not np.array_equal(array, published), key


def test_a_checkpoint_that_does_not_fit_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    torch.save({"state_dict": {"backbone.other": torch.zeros(1)}, "meta": {}}, tmp_path / "file.pth")
    assert main.main(["doctor", "--checkpoint", str(tmp_path / "file.pth"), "--model", MODEL]) == 0
    printed = capsys.readouterr().out
    assert f"file.pth does not fit {MODEL}." in printed
    assert "it is a checkpoint of another architecture" in printed


def test_a_preprocessor_needs_a_model_and_images(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["doctor", "--preprocessor", "json:loads"]) == 2
    assert "--preprocessor needs --model NAME" in capsys.readouterr().err
    assert preprocessor.STRAIGHT < 1
