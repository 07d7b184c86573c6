"""torchvision's SSD with other classes than COCO's: the background of every anchor changes its place."""

from __future__ import annotations

import pytest
import torch
from torchvision.models import detection

import zoo
from zoo.checkpoint import Checkpoint, load_into
from zoo.checkpoint.convert import reorder
from zoo.checkpoint.convert.to_torchvision import to_torchvision
from zoo.manifest import api

CLASSES, ANCHORS = 4, 6


def test_each_anchor_has_its_background_last_and_back() -> None:
    rows = torch.arange(ANCHORS * (CLASSES + 1.0))
    moved = reorder.apply("coco91", rows, rows.shape, ANCHORS)
    assert moved.view(ANCHORS, -1)[:, -1].tolist() == rows.view(ANCHORS, -1)[:, 0].tolist()
    assert torch.equal(reorder.invert("coco91", moved, tuple(rows.shape), ANCHORS), rows)


@pytest.mark.parametrize("name", ["ssd300_vgg16", "ssdlite320_mobilenet_v3_large"])
def test_a_file_of_few_classes_loads_and_goes_back(name: str) -> None:
    theirs = getattr(detection, name)(weights=None, weights_backbone=None, num_classes=CLASSES + 1).state_dict()
    description = api.architecture(f"torchvision/{name}")
    description["bbox_head"]["num_classes"] = CLASSES
    ours = zoo.build(description)
    part = ".1" if "ssdlite" in name else ""
    key = f"head.classification_head.module_list.1{part}.bias"
    theirs[key] = torch.arange(float(len(theirs[key])))
    assert load_into(ours, Checkpoint(dict(theirs))) == ["torchvision"]
    mine = ours.state_dict()[f"bbox_head.cls_convs.1.{'1' if part else '0'}.bias"].view(ANCHORS, -1)
    assert torch.equal(mine.roll(1, 1).flatten(), theirs[key])
    written = to_torchvision(ours.state_dict(), CLASSES)[1]
    assert torch.equal(written[key], theirs[key])
