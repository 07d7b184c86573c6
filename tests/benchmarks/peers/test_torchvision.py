from __future__ import annotations

import pytest
import torch

import zoo
from benchmarks import agreement
from benchmarks.parity import formula
from benchmarks.peers.torchvision import TorchvisionDetector
from zoo.checkpoint import Checkpoint, load_into
from zoo.structures import Frame


def pair(name: str):
    """Our network and torchvision's with the same random weights."""
    torch.manual_seed(0)
    ours = zoo.build(f"torchvision/{name}")
    theirs = TorchvisionDetector(name, ours.preprocess)
    assert load_into(ours, Checkpoint(dict(theirs.network.state_dict()))) == ["torchvision"]
    return ours, theirs


NAMES = ["fasterrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn", "retinanet_resnet50_fpn"]
NAMES += ["maskrcnn_resnet50_fpn_v2", "retinanet_resnet50_fpn_v2"]


@pytest.mark.parametrize("name", NAMES)
def test_with_torchvisions_weights_our_network_detects_what_torchvisions_does(name):
    ours, theirs = pair(name)
    images, frame = torch.rand(1, 3, 256, 320) * 4 - 2, Frame((256, 320), (512, 640), (0.5, 0.5))
    with torch.inference_mode():
        (want,), (have,) = theirs.predict(images, [frame]), ours.predict(images, [frame])
    found = agreement.compare([want], [have])
    assert found.detections >= 100
    assert found.matched == 1 and found.added == 0
    assert found.score_difference < 1e-5 and found.box_difference < 1e-2
    if want.masks is not None:
        assert have.masks.shape == want.masks.shape
        both, either = (have.masks & want.masks).sum(), (have.masks | want.masks).sum()
        assert both / either > 0.9  # torchvision pastes masks at whole pixels


def test_pictures_are_resized_as_torchvision_does():
    from torchvision.models.detection.transform import GeneralizedRCNNTransform

    picture = formula.picture(240, 333, 0)
    sample = zoo.build("torchvision/fasterrcnn_resnet50_fpn").preprocess(picture[..., ::-1].copy())
    transform = GeneralizedRCNNTransform(800, 1333, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]).eval()
    images, _ = transform([torch.from_numpy(picture.transpose(2, 0, 1).copy()).float() / 255])
    assert sample.size == images.image_sizes[0]
    assert torch.allclose(sample.image, images.tensors[0], atol=1e-4)
