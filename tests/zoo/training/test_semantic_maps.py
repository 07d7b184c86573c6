"""Classes of all pixels reach the heads that learn them, resized, mirrored and padded like the image."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from zoo.cli import main
from zoo.errors import DataError, UsageError
from zoo.manifest import api
from zoo.models.supervision import supervision
from zoo.training.augmentation.flip import flip
from zoo.training.augmentation.resize import resize_to
from zoo.training.coco_folder import CocoFolder
from zoo.training.dataset import Augmentation, TrainingSet, collate
from zoo.training.layout import find
from zoo.training.sampler import Key
from zoo.training.semantic_maps import ClassMaps, class_maps


@pytest.fixture
def maps(shapes: Path, tmp_path: Path) -> Path:
    """A PNG file for each image: class 3, the right half unknown."""
    folder = CocoFolder(*find(shapes))
    for image, (height, width) in zip(folder.images, folder.sizes):
        classes = np.full((height, width), 3, np.uint8)
        classes[:, width // 2 :] = 255
        cv2.imwrite(str((tmp_path / image["file_name"]).with_suffix(".png")), classes)
    return tmp_path


def test_classes_follow_the_image(shapes: Path, maps: Path) -> None:
    folder = CocoFolder(*find(shapes), maps=ClassMaps(maps, 183))
    image = folder[0]
    assert image.semantic is not None and image.semantic.shape == image.size
    wide = resize_to(image, (200, 100)).semantic
    assert wide is not None and np.all(wide[:, :100] == 3) and np.all(wide[:, 100:] == 255)
    mirrored = flip(image).semantic
    assert mirrored is not None and np.array_equal(mirrored[:, ::-1], image.semantic)


def test_what_was_padded_is_unknown(shapes: Path, maps: Path) -> None:
    folder = CocoFolder(*find(shapes), maps=ClassMaps(maps, 183))
    data = TrainingSet(folder, api.preprocessing("htc_r50_fpn_1x_coco"), Augmentation(flip=0))
    batch = collate([data[Key(0, 0)], data[Key(0, 1)]])
    for (height, width), target in zip(batch.sizes, batch.targets):
        assert target["semantic"].shape == batch.images.shape[2:]
        assert torch.all(target["semantic"][:height, : width // 2 - 4] == 3)
        assert torch.all(target["semantic"][height:] == 255) and torch.all(target["semantic"][:, width:] == 255)


@pytest.mark.parametrize(("classes", "name"), [(183, "htc_r50_fpn_1x_coco"), (133, "panoptic_fpn_r50_fpn_1x_coco")])
def test_the_network_says_how_many_classes_there_are(classes: int, name: str, tmp_path: Path) -> None:
    assert supervision(api.architecture(name)).semantic == classes


def test_a_network_that_learns_no_classes_of_pixels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no head that learns"):
        class_maps(tmp_path, None, "faster_rcnn")
    with pytest.raises(UsageError, match="not a folder"):
        class_maps(tmp_path / "absent", 183, "htc")


def test_a_map_that_does_not_fit_is_named(tmp_path: Path) -> None:
    def write(classes: np.ndarray) -> None:
        cv2.imwrite(str(tmp_path / "a.png"), classes)

    known = ClassMaps(tmp_path, 10)
    with pytest.raises(DataError, match=r"a\.png cannot be read"):
        known.of("a.jpg", (4, 6))
    write(np.zeros((4, 5), np.uint8))
    with pytest.raises(DataError, match="6 x 4"):
        known.of("a.jpg", (4, 6))
    write(np.full((4, 6), 12, np.uint8))
    with pytest.raises(DataError, match="has class 12; the network knows 0 to 9"):
        known.of("a.jpg", (4, 6))
    write(np.full((4, 6), 255, np.uint8))
    assert known.of("a.jpg", (4, 6)).shape == (4, 6)


def test_the_command_says_what_does_not_fit(shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "demo_atss", "--data", str(shapes), "--out", str(tmp_path / "work"), "--semantic", str(tmp_path)]
    assert main.main(words) == 2
    assert "no head that learns" in capsys.readouterr().err
