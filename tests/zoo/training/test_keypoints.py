"""Training with keypoints: what is read, mirrored, learned and validated."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import zoo
from tests.zoo.models.detectors.test_two_stage import narrow
from zoo.errors import DataError, UsageError
from zoo.manifest import api
from zoo.models.criteria.keypoints import cells_of, keypoint_losses
from zoo.models.supervision import supervision
from zoo.models.targets import GroundTruth, Samples
from zoo.training import recipe
from zoo.training.augmentation.flip import flip
from zoo.training.augmentation.keypoints import Keypoints
from zoo.training.augmentation.resize import resize_to
from zoo.training.coco_folder import CocoFolder
from zoo.training.config import TrainConfig
from zoo.training.fit import train
from zoo.training.layout import find

COCO = Path(__file__).parents[2] / "data" / "coco"
ANNOTATIONS = COCO / "annotations" / "person_keypoints_val2017.json"
NAME = "detectron2/keypoint_rcnn_R_50_FPN_1x"


def folder(pixel_center: float = 0.5, annotations: Path = ANNOTATIONS) -> CocoFolder:
    return CocoFolder(annotations, COCO / "val2017", pixel_center=pixel_center)


@pytest.mark.parametrize("pixel_center", [0.5, 0.0])
def test_a_mirrored_keypoint_is_on_the_mirrored_pixel(pixel_center: float) -> None:
    image = folder(pixel_center)[0]
    assert image.keypoints is not None
    mirrored = flip(image)
    x = int(image.keypoints.points[0, 1, 0] - pixel_center)
    there = int(mirrored.keypoints.points[0, 2, 0] - pixel_center)  # type: ignore[union-attr]
    y = int(image.keypoints.points[0, 1, 1] - pixel_center)
    assert (image.image[y, x] == mirrored.image[y, there]).all() and there == image.size[1] - 1 - x
    again = flip(mirrored)
    assert (again.keypoints.points == image.keypoints.points).all()  # type: ignore[union-attr]


def test_keypoints_follow_a_resized_image_and_those_outside_become_unknown() -> None:
    image = folder()[0]
    height, width = image.size
    larger = resize_to(image, (2 * width, 3 * height)).keypoints
    assert image.keypoints is not None and larger is not None
    np.testing.assert_allclose(larger.points, image.keypoints.points * [2, 3, 1], rtol=1e-6)
    outside = Keypoints(np.array([[[-1, 5, 2], [5, 5, 2], [5, 5, 0]]], np.float32), (0, 1, 2)).clipped(10, 10)
    assert outside.points[0].tolist() == [[0, 0, 0], [5, 5, 2], [0, 0, 0]]


def test_images_without_visible_keypoints_are_left_out(tmp_path: Path) -> None:
    document = json.loads(ANNOTATIONS.read_text())
    for row in document["annotations"]:
        if row["image_id"] == 10:
            row["keypoints"][2::3] = [0] * 17
    (tmp_path / "a.json").write_text(json.dumps(document))
    assert [image["id"] for image in folder(annotations=tmp_path / "a.json").images] == [17]
    document["annotations"][-1]["keypoints"] = [1, 1, 2]
    (tmp_path / "a.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match=r"different numbers of keypoints \(1, 17\)"):
        folder(annotations=tmp_path / "a.json")


def test_a_keypoint_learns_its_cell_and_one_on_the_far_edge_the_last_cell() -> None:
    box = torch.tensor([[10.0, 10.0, 66.0, 66.0]])
    points = torch.tensor([[[10.0, 10, 2], [66, 66, 1], [38.5, 20.25, 2], [5, 20, 2], [38, 20, 0]]])
    cells, inside = cells_of(points, box, 56)
    assert cells.tolist() == [[0, 56 * 55 + 55, 10 * 56 + 28, 0, 0]]
    assert inside.tolist() == [[True, True, True, False, False]]


def test_the_loss_is_the_mean_over_visible_keypoints() -> None:
    head = zoo.build(NAME).roi_head.keypoint_head
    box = torch.tensor([[0.0, 0.0, 56.0, 56.0]])
    points = torch.zeros(1, 17, 3)
    points[0, :2] = torch.tensor([[3.5, 0.5, 2], [0.5, 2.5, 1]])
    only = torch.zeros(1, dtype=torch.long)
    sample = Samples(box, only, only[:0], only, torch.ones(1, dtype=torch.bool))
    heatmaps = torch.randn(1, 17, 56, 56)
    loss = keypoint_losses(head, heatmaps, [sample], [GroundTruth(box, only, keypoints=points)])["loss_keypoint"]
    logs = heatmaps[0].flatten(1).log_softmax(1)
    torch.testing.assert_close(loss, -(logs[0, 3] + logs[1, 112]) / 2)
    with pytest.raises(UsageError, match="targets need `keypoints`"):
        keypoint_losses(head, heatmaps, [sample], [GroundTruth(box, only)])
    with pytest.raises(UsageError, match="5 keypoints per object, the network has 17"):
        keypoint_losses(head, heatmaps, [sample], [GroundTruth(box, only, keypoints=points[:, :5])])


def test_a_network_trains_on_keypoints_and_is_validated_by_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = api.architecture(NAME)
    small = {**narrow(dict(whole)), "train_cfg": whole["train_cfg"]}
    small["roi_head"]["keypoint_head"].update(num_convs=1, conv_out_channels=8)
    monkeypatch.setattr(api, "architecture", lambda name: small)
    annotations, images = find(COCO, "val", "person_keypoints")
    plan = TrainConfig(
        NAME, annotations, images, tmp_path, start="scratch", log_every=1, validation=(annotations, images)
    )
    assert train(_short(plan)) is not None
    lines = [json.loads(line) for line in (tmp_path / "log.json").read_text().splitlines()]
    assert all(line["loss_keypoint"] > 0 for line in lines if line.get("mode") == "train")
    assert any("keypoints_mAP" in line for line in lines)
    assert (next(tmp_path.glob("detectron2_keypoint*.pth"))).is_file()
    assert supervision(small).keypoints == 0.5


def _short(plan: TrainConfig) -> TrainConfig:
    """One epoch, validated at its end."""
    own = recipe.default(api.architecture(plan.name))
    return replace(plan, recipe=replace(own, epochs=1), batch_size=1, validate_every=1)
