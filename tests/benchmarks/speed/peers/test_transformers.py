"""transformers' DETR with our weights detects what ours does."""

from __future__ import annotations

import pytest
import torch

import zoo
from benchmarks.results import agreement
from benchmarks.speed.peers.counterparts import NoCounterpart, counterpart
from zoo.structures import ImageGeometry

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


def test_other_detectors_have_no_counterpart_there():
    assert counterpart(NAME, "transformers") == "DetrForObjectDetection"
    with pytest.raises(NoCounterpart):
        counterpart("retinanet_r50_fpn_1x_coco", "transformers")
