"""Images become the network inputs that the reference makes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from zoo.errors import UnreadableImage
from zoo.loading import preprocessor
from zoo.manifest import api
from zoo.preprocessing.mmdet_pipeline import parse_pipeline
from zoo.preprocessing.preprocess import read_image, resized_size
from zoo.preprocessing.recipe import CenterPad, Normalization, Normalize, Pad, Preprocessing, Resize

ROOT = Path(__file__).resolve().parents[3]
IMAGES = ROOT.parent / "shared" / "data" / "coco38" / "val2017"
RECORDS = json.loads((Path(__file__).with_name("preprocess.json")).read_text())


def image(height, width):
    """A BGR image with all values, the same every time."""
    rng = np.random.default_rng(height * 10000 + width)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


# The reference's own results


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record["models"][0])
def test_the_manifests_recipe_is_the_configurations(record):
    expected = parse_pipeline(record["pipeline"])
    assert {api.preprocessing(name) for name in record["models"]} == {expected}


@pytest.mark.skipif(not IMAGES.is_dir(), reason="the images of the recorded results are not on this machine")
@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record["models"][0])
def test_inputs_equal_the_reference(record):
    prepare = preprocessor(record["models"][0])
    for want in record["results"]:
        sample = prepare(IMAGES / want["image"])
        flat = sample.image.double().flatten()
        index = torch.arange(len(want["samples"])) * (flat.numel() - 1) // (len(want["samples"]) - 1)
        assert list(sample.image.shape) == want["shape"]
        assert flat[index].numpy() == pytest.approx(want["samples"], rel=1e-6)  # recorded with seven digits
        assert float(flat.mean()) == pytest.approx(want["mean"], rel=1e-9, abs=1e-9)
        assert float(flat.std(unbiased=False)) == pytest.approx(want["std"], rel=1e-9)
        assert list(sample.size) == want["meta"]["img_shape"][:2]
        assert list(sample.original_size) == want["meta"]["ori_shape"][:2]
        assert [*sample.scale] * 2 == pytest.approx(want["meta"]["scale_factor"])
        top, _, left, _ = want["meta"].get("border", [0, 0, 0, 0])
        assert sample.offset == (left, top)


# Sizes


@pytest.mark.parametrize(
    ("scale", "before", "after"),
    [
        ((1333, 800), (640, 427), (1199, 800)),
        ((800, 1333), (640, 427), (1199, 800)),  # the order does not matter
        ((1333, 800), (2000, 300), (1333, 200)),
        ((416, 416), (500, 375), (416, 312)),
        ((1333, 800), (333, 500), (800, 1201)),  # 1201.2
        ((1333, 800), (3, 2), (1200, 800)),
    ],
)
def test_sides_are_bounded_and_rounded_half_up(scale, before, after):
    assert resized_size(Resize(scale=scale), *before) == after


def test_without_the_ratio_the_scale_is_width_and_height():
    assert resized_size(Resize(scale=(300, 200), keep_ratio=False), 640, 427) == (300, 200)


def test_a_sample_says_where_the_image_is():
    sample = preprocessor("retinanet_r50")(image(100, 200))
    assert sample.original_size == (100, 200)
    assert sample.size == (667, 1333)
    assert sample.image.shape == (3, 672, 1344)
    assert sample.scale == pytest.approx((6.665, 6.67))


def test_a_image_that_resizing_leaves_nothing_of_is_refused():
    with pytest.raises(UnreadableImage, match="1 x 5000 pixels is too narrow"):
        preprocessor("faster_rcnn_r50")(image(5000, 1))


# Values


def test_normalization_subtracts_and_divides_in_the_networks_channel_order():
    source = image(8, 8)
    norm = Normalization((10.0, 20.0, 30.0), (2.0, 4.0, 8.0), to_rgb=True)
    got = preprocessor(Preprocessing((Normalize(norm),)))(source).image.numpy()
    want = (source[..., ::-1].astype(np.float64) - [10, 20, 30]) / [2, 4, 8]
    assert np.array_equal(got, want.transpose(2, 0, 1).astype(np.float32))


def test_padding_before_normalization_is_normalized_too():
    norm = Normalization((100.0, 100.0, 100.0), (1.0, 1.0, 1.0), to_rgb=False)
    gray = Pad(divisor=4, value=(128.0, 128.0, 128.0))
    before = preprocessor(Preprocessing((gray, Normalize(norm))))(image(3, 3)).image
    after = preprocessor(Preprocessing((Normalize(norm), Pad(divisor=4))))(image(3, 3)).image
    assert torch.all(before[:, 3] == 28) and torch.all(after[:, 3] == 0)


def test_raw_pixels_stay_as_they_are():
    sample = preprocessor("yolox_s")(image(640, 320))
    assert torch.equal(
        sample.image[:, :, :320], torch.from_numpy(image(640, 320).transpose(2, 0, 1).astype(np.float32))
    )
    assert torch.all(sample.image[:, :, 320:] == 114)


@pytest.mark.parametrize("side", [96, 127, 128, 130, 255])
def test_centered_padding_keeps_the_center(side):
    source = image(side, side)
    sample = preprocessor(Preprocessing((CenterPad(bits=127, value=(1.0, 2.0, 3.0)),), float32=True))(source)
    padded = side | 127
    left, top = map(int, sample.offset)
    assert sample.image.shape == (3, padded, padded) and left == top == padded // 2 - side // 2
    inside = sample.image[:, top : top + side - 1, left : left + side - 1].numpy()
    assert np.array_equal(inside, source[:-1, :-1].transpose(2, 0, 1).astype(np.float32))


def test_a_number_as_padding_fills_the_first_channel_only_as_in_mmcv():
    recipe = parse_pipeline([{"type": "Pad", "size": (4, 4), "pad_val": {"img": 7}}])
    assert preprocessor(recipe)(image(2, 2)).image[:, 3, 3].tolist() == [7, 0, 0]


# Configurations of other versions


def test_a_v3_configuration_normalizes_and_pads_in_the_model():
    pipeline = [
        {"type": "LoadImageFromFile", "backend_args": None},
        {"type": "mmdet.Resize", "scale": (1333, 800), "keep_ratio": True},
        {"type": "LoadAnnotations", "with_bbox": True},
        {"type": "PackDetInputs", "meta_keys": ("img_id",)},
    ]
    model = {
        "type": "DetDataPreprocessor",
        "mean": [123.675, 116.28, 103.53],
        "std": [58.395, 57.12, 57.375],
        "bgr_to_rgb": True,
        "pad_size_divisor": 32,
    }
    assert parse_pipeline(pipeline, model) == api.preprocessing("faster_rcnn_r50")


def test_v3_resizes_given_proposals_with_the_image():
    resize = {"type": "Resize", "scale": (1333, 800), "keep_ratio": True}
    proposals, plain = {"type": "LoadProposals", "num_max_proposals": 100}, {"type": "PackDetInputs"}
    broadcast = {"type": "ProposalBroadcaster", "transforms": [resize]}
    result = parse_pipeline([proposals, broadcast, plain])
    assert result == parse_pipeline([proposals, resize, plain]) and result.proposals == 100


def test_v3_means_width_and_height_by_a_size_and_all_channels_by_a_number():
    pad = {"type": "Pad", "size": (640, 480), "pad_val": {"img": 114}}
    assert parse_pipeline([pad]).steps == (Pad(size=(640, 480), value=(114.0, 0.0, 0.0)),)
    v3 = parse_pipeline([pad, {"type": "PackDetInputs"}])
    assert v3.steps == (Pad(size=(480, 640), value=(114.0, 114.0, 114.0), part_of_image=True),)


@pytest.mark.parametrize(
    ("transform", "word"),
    [
        ({"type": "Resize", "scale": (10, 10), "interpolation": "lanczos"}, "lanczos"),
        ({"type": "Resize", "img_scale": [(10, 10), (20, 20)]}, "several scales"),
        ({"type": "Resize", "keep_ratio": True}, "no scale"),
        ({"type": "LoadImageFromFile", "channel_order": "rgb"}, "BGR"),
    ],
)
def test_what_would_change_pixels_unnoticed_is_refused(transform, word):
    with pytest.raises(ValueError, match=word):
        parse_pipeline([transform])


def test_an_unknown_transform_is_named():
    with pytest.raises(ValueError, match="'Posterize'"):
        parse_pipeline([{"type": "Posterize"}])


# Reading


def test_images_are_turned_as_exif_says(tmp_path):
    image = Image.fromarray(np.zeros((20, 40, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert read_image(tmp_path / "turned.jpg").shape == (40, 20, 3)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "I;16"])
def test_every_kind_of_image_becomes_bgr_bytes(tmp_path, mode):
    Image.new(mode, (5, 4)).save(tmp_path / "image.png")
    image = read_image(str(tmp_path / "image.png"))
    assert image.shape == (4, 5, 3) and image.dtype == np.uint8


def test_files_and_arrays_give_the_same(tmp_path):
    cv2.imwrite(str(tmp_path / "image.png"), image(30, 40))
    prepare = preprocessor("faster_rcnn_r50")
    assert torch.equal(prepare(tmp_path / "image.png").image, prepare(image(30, 40)).image)


@pytest.mark.parametrize(
    "content", [b"", b"not an image", b"\xff\xd8\xff\xe0 broken", b"\x89PNG\r\n\x1a\n" + b"\0" * 40]
)
def test_what_does_not_decode_is_named(tmp_path, content):
    (tmp_path / "broken.jpg").write_bytes(content)
    with pytest.raises(UnreadableImage, match=r"broken\.jpg"):
        read_image(tmp_path / "broken.jpg")


def test_missing_files_and_folders_are_named(tmp_path):
    for path in (tmp_path / "missing.jpg", tmp_path):
        with pytest.raises(UnreadableImage, match=path.name):
            read_image(path)


@pytest.mark.parametrize("array", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_other_arrays_are_refused(array):
    with pytest.raises(UnreadableImage, match="BGR uint8"):
        read_image(array)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_an_image_whose_file_ends_too_early_is_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"image{suffix}"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    whole = path.read_bytes()
    read_image(path)
    path.write_bytes(whole[: len(whole) * 3 // 4])
    with pytest.raises(
        UnreadableImage, match=rf"image\{suffix}: (the file ends before the image does|does not decode)"
    ):
        read_image(path)
    path.write_bytes(whole + b"what a camera appends")
    read_image(path)


def test_a_pipe_is_no_image_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "image.jpg")
    with pytest.raises(UnreadableImage, match=r"image\.jpg: is not a regular file"):
        read_image(tmp_path / "image.jpg")
