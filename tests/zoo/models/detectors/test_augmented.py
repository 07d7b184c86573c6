"""Test-time augmentation."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import zoo
from zoo.cli import main
from zoo.errors import UsageError
from zoo.manifest import api
from zoo.models.detectors.augmented import Augmented, Versions, merge, mirror, mirrored, nms_of
from zoo.structures import Detections


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
    merged = merge([first, second], {"type": "nms", "iou_threshold": 0.5})
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
    with pytest.raises(UsageError, match="input size is fixed"):
        Augmented(build("ssd300_coco"), api.preprocessing("ssd300_coco"))


def test_the_command_takes_it(image: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), image)
    assert main.main(["detect", "demo_atss", str(tmp_path / "a.png"), "--tta", "--score-thr", "0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)
    assert main.main(["detect", "demo_yolox", "absent.png", "--tta"]) == 1
