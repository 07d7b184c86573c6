"""Test-time augmentation."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import zoo
from zoo.cli import main
from zoo.errors import UsageError
from zoo.manifest import api
from zoo.models.detectors.augmented import Augmented, Versions, located, merge, mirror, mirrored, nms_of
from zoo.structures import Detections

NMS = {"type": "nms", "iou_threshold": 0.5}


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (96, 130, 3), dtype=np.uint8)


def build(name: str) -> zoo.models.detectors.base.Detector:
    torch.manual_seed(0)
    return zoo.build(name)


@pytest.mark.parametrize("name", ["demo_mask_rcnn", "demo_yolox"])
def test_an_image_and_its_mirror_image_have_mirrored_detections(name: str, image: np.ndarray) -> None:
    model = Augmented(zoo.load(name), api.preprocessing(name))
    detections, other = model.detect([image, image[:, ::-1].copy()])
    assert len(detections)
    back = mirrored(other, image.shape[1])
    order, reverse = (x.boxes[:, 0].add(1000 * x.labels).argsort() for x in (detections, back))
    torch.testing.assert_close(detections.boxes[order], back.boxes[reverse], atol=0.01, rtol=1e-3)
    torch.testing.assert_close(detections.scores[order], back.scores[reverse], atol=1e-4, rtol=1e-3)


def test_one_scale_without_flip_changes_nothing(image: np.ndarray) -> None:
    model = zoo.load("demo_atss")
    plain = model.detect([image])[0]
    detections = Augmented(model, api.preprocessing("demo_atss"), scales=(1.0,), flip=False).detect([image])[0]
    assert torch.equal(plain.boxes, detections.boxes) and torch.equal(plain.scores, detections.scores)


def test_duplicates_of_a_class_are_merged_with_their_masks() -> None:
    masks = torch.zeros(1, 4, 8, dtype=torch.bool)
    masks[0, :, :2] = True
    first = Detections(torch.tensor([[0.0, 0, 2, 4]]), torch.tensor([0.6]), torch.tensor([1]), masks)
    second = mirrored(
        Detections(torch.tensor([[6.0, 0, 8, 4]]), torch.tensor([0.9]), torch.tensor([1]), masks.flip(2)), 8
    )
    merged = merge([first, second], NMS)
    assert merged.boxes.tolist() == [[0, 0, 2, 4]] and merged.scores.tolist() == pytest.approx([0.9])
    assert merged.masks is not None and torch.equal(merged.masks, masks)


def test_center_net_averages_the_maps_of_both_images() -> None:
    model = build("centernet_resnet18_140e_coco").eval()
    model.preprocess = zoo.preprocessor("centernet_resnet18_140e_coco")
    image = np.random.default_rng(0).integers(0, 255, (128, 128, 3), dtype=np.uint8)
    plain = model.detect([image])[0]
    augmented = Augmented(model, api.preprocessing("centernet_resnet18_140e_coco"))
    detections, other = augmented.detect([image, image[:, ::-1].copy()])
    assert not torch.allclose(plain.scores, detections.scores)
    torch.testing.assert_close(detections.scores, other.scores, atol=1e-5, rtol=1e-4)


def test_rtmdet_pads_all_scales_to_the_largest_and_merges_as_published(image: np.ndarray) -> None:
    model = Augmented(build("rtmdet_tiny_8xb32-300e_coco"), api.preprocessing("rtmdet_tiny_8xb32-300e_coco"))
    first = model.versions(image)
    assert isinstance(first, Versions)
    assert [sample.image.shape for sample in (first, *first.others)] == [(3, 960, 960)] * 3
    assert [round(sample.scale[0] * 130) for sample in (first, *first.others)] == [640, 320, 960]
    assert nms_of(model.detector) == {"type": "nms", "iou_threshold": 0.6}


def test_what_is_padded_stays_where_it_is_in_a_mirror_image(image: np.ndarray) -> None:
    """In RTMDet padding counts as a part of the image, so `size` does not tell it."""
    sample = zoo.preprocessor("rtmdet_tiny_8xb32-300e_coco")(image[:, :80])
    other, width = mirror(sample), round(80 * sample.scale[0])
    assert width < 640 and other.size == sample.size == (640, 640)
    assert torch.equal(other.image[:, :, :width], sample.image[:, :, :width].flip(2))
    assert torch.equal(other.image[:, :, width:], sample.image[:, :, width:])


def test_a_fixed_input_size_is_not_scaled() -> None:
    model = build("ssd300_coco")
    with pytest.raises(UsageError, match="input size is fixed"):
        Augmented(model, scales=(0.5,))
    assert len(Augmented(model).recipes) == 1


def test_a_network_without_preprocessing_is_refused() -> None:
    model = build("demo_atss")
    model.preprocess = None
    with pytest.raises(UsageError, match="knows how its images are prepared"):
        Augmented(model)


@pytest.mark.parametrize("name", ["panoptic_fpn_r50_fpn_1x_coco", "mask2former_r50_lsj_8x2_50e_coco-panoptic"])
def test_panoptic_maps_are_refused_before_the_first_image(name: str) -> None:
    with pytest.raises(UsageError, match="does not support panoptic maps"):
        Augmented(build(name))


def test_masks_without_boxes_are_merged_by_the_boxes_of_the_masks() -> None:
    masks = torch.zeros(1, 4, 8, dtype=torch.bool)
    masks[0, 1:3, 2:5] = True
    alone = Detections(torch.zeros(1, 4), torch.tensor([0.5]), torch.tensor([0]), masks)
    assert located(alone).boxes.tolist() == [[2, 1, 5, 3]]
    merged = merge([located(alone), mirrored(located(replace(alone, masks=masks.flip(2))), 8)], NMS)
    assert len(merged) == 1 and torch.equal(merged.masks, masks)  # type: ignore[arg-type]


@pytest.mark.parametrize(("pixel_center", "x"), [(0.5, 7.5), (0.0, 6.5)])
def test_left_and_right_keypoints_change_places_in_a_mirror_image(pixel_center: float, x: float) -> None:
    points = torch.zeros(1, 17, 3)
    points[0, 1] = torch.tensor([2.5, 3.0, 0.9])  # the left eye
    detections = Detections(torch.zeros(1, 4), torch.ones(1), torch.zeros(1), keypoints=points)
    back = mirrored(detections, 10, pixel_center).keypoints
    assert back is not None and back[0, 2].tolist() == pytest.approx([x, 3.0, 0.9])
    with pytest.raises(UsageError, match="which keypoints but a person's 17"):
        mirrored(replace(detections, keypoints=points[:, :5]), 10)


def test_a_checkpoint_of_your_own_says_how_its_images_are_prepared(
    image: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), image)
    words = [str(tmp_path / "a.png"), "--tta", "--score-thr", "0", "--json"]
    assert main.main(["detect", "demo_atss", *words]) == 0
    published = json.loads(capsys.readouterr().out)
    own = shutil.copy(zoo.fetch("demo_atss"), tmp_path / "own.pth")
    assert main.main(["detect", str(own), *words]) == 0
    assert json.loads(capsys.readouterr().out) == published


def test_the_command_takes_it(image: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), image)
    assert main.main(["detect", "demo_atss", str(tmp_path / "a.png"), "--tta", "--score-thr", "0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)
    assert main.main(["detect", "demo_yolox", "absent.png", "--tta"]) == 1
