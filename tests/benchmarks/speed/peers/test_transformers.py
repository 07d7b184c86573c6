"""transformers' DETR with our weights detects what ours does."""

from __future__ import annotations

from importlib import import_module

import pytest
import torch

import zoo
from benchmarks.results import agreement
from benchmarks.speed.peers.counterparts import NoCounterpart, counterpart
from benchmarks.speed.peers.external import WORKERS
from zoo.checkpoint.convert.to_transformers import write_transformers
from zoo.structures import Detections, ImageGeometry

NAME = "detr_r50_8x2_150e_coco"


@pytest.mark.slow
def test_with_our_weights_transformers_detects_the_same(tmp_path):
    pytest.importorskip("transformers", reason="transformers is not installed")
    pytest.importorskip("timm", reason="timm is not installed")
    from benchmarks.speed.peers import transformers as peer

    torch.manual_seed(0)
    ours = zoo.build(NAME)
    folder = peer.write(ours.state_dict(), tmp_path, ours.classes or ())
    theirs = peer.TransformersDetector(folder, ours.preprocess)
    geometry = ImageGeometry((120, 150), (240, 300), (0.5, 0.5))
    images = torch.rand(1, 3, 128, 160) * 4 - 2
    images[:, :, 120:] = 0
    images[:, :, :, 150:] = 0
    with torch.inference_mode():
        want, have = theirs.predict(images, [geometry]), ours.predict(images, [geometry])
    result = agreement.compare(want, have)
    assert result.detections == 100 and result.matched >= 0.99 and result.score_difference < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        NAME,
        "deformable_detr_r50_16x2_50e_coco",
        "conditional-detr_r50_8xb2-50e_coco",
        "dab-detr_r50_8xb2-50e_coco",
    ],
)
def test_the_worker_of_transformers_detects_what_ours_does(name, tmp_path, monkeypatch):
    pytest.importorskip("transformers", reason="transformers is not installed")
    pytest.importorskip("timm", reason="timm is not installed")
    monkeypatch.syspath_prepend(WORKERS)
    worker = import_module("transformers_worker")
    torch.manual_seed(0)
    ours = zoo.build(name).eval()
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    folder = write_transformers(ours.state_dict(), tmp_path / "theirs", ours.classes or ())
    theirs = worker.Detector({"config": str(folder), "device": "cpu"})
    images, geometry = torch.rand(1, 3, 128, 160) * 4 - 2, ImageGeometry((128, 160), (256, 320), (0.5, 0.5))
    inputs = {"pixel_values": images, "pixel_mask": torch.ones(1, 128, 160, dtype=torch.long)}
    with torch.inference_mode():
        boxes, scores, labels = theirs.rows(theirs.compute((Inputs(inputs), (256, 320))))
        have = ours.predict(images, [geometry])[0]
    want = Detections(torch.tensor(boxes), torch.tensor(scores), torch.tensor(labels))[:100]
    result = agreement.compare([want], [have])
    assert result.matched >= 0.99 and result.score_difference < 1e-4
    assert list(theirs.classes()) == list(ours.classes)


class Inputs(dict):
    """What an image processor gives."""


@pytest.mark.slow
def test_the_worker_refuses_networks_of_masks_in_a_sentence(tmp_path, monkeypatch):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    monkeypatch.syspath_prepend(WORKERS)
    transformers.Mask2FormerConfig().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="is a mask2former, whose results are masks"):
        import_module("transformers_worker").Detector({"config": str(tmp_path), "device": "cpu"})


def test_other_detectors_have_no_counterpart_there():
    assert counterpart(NAME, "transformers") == "DetrForObjectDetection"
    with pytest.raises(NoCounterpart):
        counterpart("retinanet_r50_fpn_1x_coco", "transformers")
