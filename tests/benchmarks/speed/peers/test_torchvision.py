from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest
import torch
from torchvision.models import detection, get_model_weights

import zoo
from benchmarks.parity import formula
from benchmarks.results import agreement
from benchmarks.speed.compare_training import LOSSES, verdict
from benchmarks.speed.generated import spread
from benchmarks.speed.peers import random_weights, torchvision
from benchmarks.speed.peers.external import WORKERS
from benchmarks.speed.peers.torchvision import TorchvisionDetector
from zoo.checkpoint import Checkpoint, load_into
from zoo.checkpoint.convert.to_torchvision import to_torchvision
from zoo.manifest import api
from zoo.structures import ImageGeometry


def pair(name: str):
    """Our network and torchvision's with the same random weights."""
    torch.manual_seed(0)
    ours = zoo.build(f"torchvision/{name}")
    theirs = TorchvisionDetector(name, ours.preprocess)
    assert load_into(ours, Checkpoint(dict(theirs.network.state_dict()))) == ["torchvision"]
    return ours, theirs


# Sides that 64 and 128 do not divide: torchvision rounds the strides of coarse levels down.
SIZES = {
    "fasterrcnn_resnet50_fpn": (224, 288),
    "maskrcnn_resnet50_fpn": (224, 288),
    "retinanet_resnet50_fpn": (224, 288),
    "maskrcnn_resnet50_fpn_v2": (224, 288),
    "retinanet_resnet50_fpn_v2": (224, 288),
    "fcos_resnet50_fpn": (224, 288),
    "ssd300_vgg16": (300, 300),
    "ssdlite320_mobilenet_v3_large": (320, 320),
}


@pytest.mark.parametrize("name", SIZES)
def test_with_torchvisions_weights_our_network_detects_what_torchvisions_does(name):
    (ours, theirs), size = pair(name), SIZES[name]
    geometry = ImageGeometry(size, (2 * size[0], 2 * size[1]), (0.5, 0.5))
    images = torch.rand(1, 3, *size) * 4 - 2
    with torch.inference_mode():
        (want,), (have,) = theirs.predict(images, [geometry]), ours.predict(images, [geometry])
    result = agreement.compare([want], [have])
    assert result.detections >= 100
    assert result.matched == 1 and result.added == 0
    assert result.score_difference < 1e-5 and result.box_difference < 1e-2
    if want.masks is not None:
        assert have.masks.shape == want.masks.shape
        both, either = (have.masks & want.masks).sum(), (have.masks | want.masks).sum()
        assert both / either > 0.9  # torchvision pastes masks at whole pixels


@pytest.mark.parametrize("name", ["fcos_resnet50_fpn", "ssd300_vgg16", "ssdlite320_mobilenet_v3_large"])
def test_images_become_the_inputs_that_torchvision_makes(name):
    image = formula.image(240, 333, 0)
    sample = zoo.preprocessor(f"torchvision/{name}")(image[..., ::-1].copy())
    transform = getattr(detection, name)(weights=None, weights_backbone=None).eval().transform
    images, _ = transform([torch.from_numpy(image.transpose(2, 0, 1).copy()).float() / 255])
    assert sample.size == images.image_sizes[0]
    assert torch.allclose(sample.image, images.tensors[0], atol=1e-4)


@pytest.mark.parametrize("name", zoo.list_models("torchvision/*"))
def test_what_the_manifest_says_of_a_file_is_what_torchvision_says(name):
    entry = zoo.get(name)
    known = get_model_weights(name.removeprefix("torchvision/").removesuffix("_legacy"))
    weights = known.COCO_LEGACY if name.endswith("_legacy") else known.DEFAULT
    assert entry.checkpoint.urls[0] == weights.url and entry.checkpoint.sha256 in weights.url
    names = {"box_map": "box_ap", "mask_map": "mask_ap", "kp_map": "keypoint_ap"}
    measured = {names[key]: value for key, value in weights.meta["_metrics"]["COCO-val2017"].items()}
    assert {metric: round(value, 1) for metric, value in entry.metrics["coco_2017_val"].items()} == measured


LEARNERS = [f"{kind}_resnet50_fpn" for kind in ("fasterrcnn", "maskrcnn", "keypointrcnn", "retinanet")]


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNERS)
def test_without_sampling_both_learn_the_same_from_a_batch(name, monkeypatch):
    monkeypatch.syspath_prepend(WORKERS)
    own_worker = import_module("own_worker")
    torch.manual_seed(0)
    ours = zoo.build(f"torchvision/{name}")
    random_weights.randomize(ours)
    theirs = TorchvisionDetector(name, ours.preprocess)
    classes = len(api.dataset(api.get(f"torchvision/{name}").dataset).classes)
    theirs.network.load_state_dict(to_torchvision(ours.state_dict(), classes)[1])
    images, sizes = torch.rand(2, 3, 224, 288) * 4 - 2, [(224, 288), (200, 260)]
    boxes = torch.tensor([[10.0, 20, 150, 180], [60, 40, 120, 190], [5, 5, 30, 40]])
    masks = torch.zeros(3, 224, 288, dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.int().tolist()):
        mask[y1:y2, x1:x2] = True
    keypoints = torch.from_numpy(spread(np.random.RandomState(0), boxes.numpy()))
    labels = torch.tensor([0, 17, 79]) % classes
    targets = [{"boxes": boxes, "labels": labels, "masks": masks, "keypoints": keypoints} for _ in sizes]
    torchvision.as_trained(theirs.network)
    undo, before = torchvision.sample_all(theirs.network), own_worker.everything_sampled(ours)
    want = {LOSSES.get(key, key): float(value) for key, value in theirs.train().losses(images, sizes, targets).items()}
    have = {key: float(own_worker.total(value)) for key, value in ours.train().losses(images, sizes, targets).items()}
    undo()
    assert verdict(have, want) is None and before is not None
    assert not any(p.requires_grad for p in theirs.network.backbone.body.layer1.parameters())


def test_batch_norm_is_frozen_where_it_is() -> None:
    """A comparison on a GPU freezes it after the network went there."""
    frozen = torchvision.frozen(torch.nn.BatchNorm2d(3, device="meta"))
    assert {value.device.type for value in frozen.state_dict().values()} == {"meta"}
