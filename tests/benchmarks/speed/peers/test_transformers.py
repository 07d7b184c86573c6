"""transformers' networks with our weights detect what ours do."""

from __future__ import annotations

import json
import sys
from importlib import import_module

import cv2
import numpy as np
import pytest
import torch

import zoo
from benchmarks.results import agreement
from benchmarks.speed.foreign_detector import ForeignDetector
from benchmarks.speed.peers.counterparts import NoCounterpart, counterpart
from benchmarks.speed.peers.external import WORKERS, filled, is_mask
from zoo.checkpoint.convert.to_transformers import write_transformers
from zoo.manifest import api
from zoo.structures import Detections, ImageGeometry

NAME = "detr_r50_8x2_150e_coco"


OF_BOXES = [
    NAME,
    "deformable_detr_r50_16x2_50e_coco",
    "conditional-detr_r50_8xb2-50e_coco",
    "dab-detr_r50_8xb2-50e_coco",
]
MASK2FORMER = "mask2former_r50_lsj_8x2_50e_coco"


def moved(network):
    """Weights that are nowhere zero or equal by chance, as those of a trained network."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    return network.eval()


def small_mask2former():
    """The network with few layers and 9 classes."""
    description = api.architecture(MASK2FORMER)
    head = description["panoptic_head"]
    head |= {"num_things_classes": 9, "num_queries": 20}
    head["pixel_decoder"]["encoder"]["num_layers"] = 1
    head["transformer_decoder"]["num_layers"] = 2
    head["num_transformer_feat_level"] = 3
    description["panoptic_fusion_head"] |= {"num_things_classes": 9}
    return zoo.build(description)


def small_maskformer():
    """The network with a small Swin Transformer and 9 classes, whose queries become instances."""
    description = api.architecture("maskformer_swin-l-p4-w12_mstrain_64x1_300e_coco")
    description["backbone"] |= {"embed_dims": 96, "depths": [2, 2, 2, 2], "num_heads": [3, 6, 12, 24], "window_size": 7}
    classes = {"num_things_classes": 9, "num_stuff_classes": 0}
    description["panoptic_head"] |= {"in_channels": [96, 192, 384, 768], **classes}
    description["panoptic_fusion_head"] |= classes
    description["test_cfg"] |= {"instance_on": True, "panoptic_on": False}
    return zoo.build(description)


SMALL = [small_mask2former, small_maskformer]


@pytest.mark.slow
@pytest.mark.parametrize("make", [*(lambda name=name: zoo.build(name) for name in OF_BOXES), *SMALL])
def test_with_our_weights_transformers_detects_the_same(make, tmp_path):
    pytest.importorskip("transformers", reason="transformers is not installed")
    pytest.importorskip("timm", reason="timm is not installed")
    from benchmarks.speed.peers import transformers as peer

    torch.manual_seed(0)
    ours = moved(make())
    theirs = peer.TransformersDetector(peer.write(ours.state_dict(), tmp_path, ours.classes or ()), ours)
    geometry = ImageGeometry((128, 160), (256, 320), (0.5, 0.5))
    images = torch.rand(1, 3, 128, 160) * 4 - 2
    with torch.inference_mode():
        want, have = theirs.predict(images, [geometry]), ours.predict(images, [geometry])
    result = agreement.compare(want, have)
    assert result.detections == len(have[0]) > 0
    assert result.matched >= 0.99 and result.score_difference < 1e-4
    if have[0].masks is not None:
        assert (have[0].masks == want[0].masks).float().mean() > 0.999


@pytest.mark.slow
def test_padding_is_hidden_from_transformers(tmp_path):
    pytest.importorskip("transformers", reason="transformers is not installed")
    pytest.importorskip("timm", reason="timm is not installed")
    from benchmarks.speed.peers import transformers as peer

    torch.manual_seed(0)
    ours = zoo.build(NAME)
    theirs = peer.TransformersDetector(peer.write(ours.state_dict(), tmp_path, ours.classes or ()), ours)
    geometry = ImageGeometry((120, 150), (240, 300), (0.5, 0.5))
    images = torch.rand(1, 3, 128, 160) * 4 - 2
    images[:, :, 120:] = 0
    images[:, :, :, 150:] = 0
    with torch.inference_mode():
        want, have = theirs.predict(images, [geometry]), ours.predict(images, [geometry])
    result = agreement.compare(want, have)
    assert result.detections == 100 and result.matched >= 0.99 and result.score_difference < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_BOXES)
def test_the_worker_of_transformers_detects_what_ours_does(name, tmp_path, monkeypatch):
    pytest.importorskip("transformers", reason="transformers is not installed")
    pytest.importorskip("timm", reason="timm is not installed")
    monkeypatch.syspath_prepend(WORKERS)
    worker = import_module("transformers_worker")
    torch.manual_seed(0)
    ours = moved(zoo.build(name))
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


def same_instances(have, want):
    """Share of `have` that `want` has with the same label and score and, from 0.99 on, the same mask."""
    pairs = (want.masks[None] & have.masks[:, None]).flatten(2).sum(2).float()
    union = (want.masks[None] | have.masks[:, None]).flatten(2).sum(2)
    same = have.labels[:, None] == want.labels[None]
    close = (have.scores[:, None] - want.scores[None]).abs() < 1e-3
    return float(((pairs / union.clamp(min=1) > 0.99) & same & close).any(1).float().mean())


@pytest.mark.slow
def test_the_worker_gives_the_masks_that_ours_does(tmp_path):
    """At 384 x 384, where transformers' post-processing of Mask2Former works."""
    pytest.importorskip("transformers", reason="transformers is not installed")
    pytest.importorskip("timm", reason="timm is not installed")
    torch.manual_seed(0)
    ours = moved(small_mask2former())
    names = [f"class {number}" for number in range(9)]
    folder = write_transformers(ours.state_dict(), tmp_path / "theirs", names)
    processor = {"image_processor_type": "Mask2FormerImageProcessor", "size": {"height": 384, "width": 384}}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    image = np.random.default_rng(0).integers(0, 256, (384, 384, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), image)
    detector = ForeignDetector("transformers", sys.executable, str(folder))
    theirs = detector.detect_sample(tmp_path / "a.png")
    detector.workload.close()
    assert detector.classes == names and detector.measures == ["box", "mask"]
    mean, std = (torch.tensor(values)[:, None, None] for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    pixels = torch.from_numpy(image[:, :, ::-1].copy()).permute(2, 0, 1) / 255
    with torch.inference_mode():
        (have,) = ours.predict(((pixels - mean) / std)[None], [ImageGeometry.of_input((384, 384))])
    kept = theirs.scores > 0
    assert kept.sum() >= 5
    assert same_instances(theirs[kept], have) == 1.0


def test_the_worker_gives_the_masks_of_maskformer(tmp_path, monkeypatch):
    """At a quarter of the input, where transformers makes them; it enlarges them by the nearest pixel."""
    pytest.importorskip("transformers", reason="transformers is not installed")
    monkeypatch.syspath_prepend(WORKERS)
    torch.manual_seed(0)
    ours = moved(small_maskformer())
    folder = write_transformers(ours.state_dict(), tmp_path / "theirs", ours.classes or ())
    theirs = import_module("transformers_worker").Detector({"config": str(folder), "device": "cpu"})
    images = torch.rand(1, 3, 128, 160) * 4 - 2
    inputs = {"pixel_values": images, "pixel_mask": torch.ones(1, 128, 160, dtype=torch.long)}
    with torch.inference_mode():
        boxes, scores, labels = theirs.rows(result := theirs.compute((Inputs(inputs), (32, 40))))
        logits, masks = ours.outputs(images, [ImageGeometry.of_input((128, 160))])
        have = ours.panoptic_fusion_head(logits[-1][0], masks[-1][0])
    want = Detections(torch.tensor(boxes), torch.tensor(scores), torch.tensor(labels), result["masks"])
    assert theirs.gives_masks and len(want) >= 50
    assert same_instances(want, have) >= 0.98 and same_instances(have, want) >= 0.98
    assert agreement.compare([want], [have]).box_difference < 1.0


def test_a_folder_that_lacks_weights_is_refused_in_a_sentence(tmp_path, monkeypatch):
    pytest.importorskip("transformers", reason="transformers is not installed")
    pytest.importorskip("timm", reason="timm is not installed")
    from safetensors.torch import load_file, save_file

    monkeypatch.syspath_prepend(WORKERS)
    folder = write_transformers(small_mask2former().state_dict(), tmp_path / "theirs")
    tensors = load_file(folder / "model.safetensors")
    del tensors["class_predictor.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"has no class_predictor\.weight; it would be random in Mask2Former"):
        import_module("transformers_worker").Detector({"config": str(folder), "device": "cpu"})


@pytest.mark.parametrize(
    "counts", [[1, 2, 3, 4], [12, -1, 1], ["a"], {"size": [3, 4]}, [5, 7.5], [10**9], None], ids=str
)
def test_masks_that_are_none_are_refused(counts):
    assert not is_mask({"size": [3, 4], "counts": counts})


@pytest.mark.parametrize("pixels", [[[0, 1, 1], [0, 0, 1]], [[1, 1, 1], [1, 1, 1]], [[0, 0, 0], [0, 0, 0]]])
def test_masks_come_back_from_their_run_lengths(pixels, monkeypatch):
    monkeypatch.syspath_prepend(WORKERS)
    mask = torch.tensor(pixels).bool()
    told = import_module("serve").run_lengths(mask)
    assert is_mask(told)
    assert torch.equal(filled(told["size"], told["counts"]), mask)


def test_other_detectors_have_no_counterpart_there():
    assert counterpart(NAME, "transformers") == "DetrForObjectDetection"
    assert counterpart(MASK2FORMER, "transformers") == "Mask2FormerForUniversalSegmentation"
    with pytest.raises(NoCounterpart, match="no counterpart of retinanet"):
        counterpart("retinanet_r50_fpn_1x_coco", "transformers")
    with pytest.raises(NoCounterpart, match="panoptic maps, no detections"):
        counterpart("maskformer_swin-l-p4-w12_mstrain_64x1_300e_coco", "transformers")
