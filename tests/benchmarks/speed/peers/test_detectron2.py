"""Detectron2's checkpoints in our networks, against results that Detectron2 computed.

`detectron2.json.gz` has the names and shapes of its state dicts, and what commit 02b5c4e2 found in a drawn image on a
CPU with weights that are a formula of those names, at most 60 proposals and 40 detections.
"""

from __future__ import annotations

import gzip
import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import zoo
from benchmarks.parity import formula
from zoo.loading import preprocessor
from zoo.manifest import api
from zoo.preprocessing.recipe import Resize
from zoo.structures import ImageGeometry

RECORDED = json.loads(gzip.decompress(Path(__file__).with_name("detectron2.json.gz").read_bytes()))


def checkpoint(model: str, folder: Path) -> Path:
    """A file like those of its zoo: a pickle of NumPy arrays."""
    known = RECORDED["models"][model]
    state = {name: formula.draw(name, tuple(shape), known["gains"]) for name, shape in known["names"]}
    path = folder / "model_final.pkl"
    path.write_bytes(pickle.dumps({"model": state, "__author__": "Detectron2 Model Zoo"}))
    return path


def limited(model):
    """With the numbers of proposals and detections of the record."""
    if hasattr(model, "rpn_head"):
        model.rpn_head.test_cfg = {**model.rpn_head.test_cfg, "max_per_img": RECORDED["proposals"]}
    head = getattr(model, "roi_head", getattr(model, "bbox_head", None))
    if head is not None:
        head.test_cfg = {**head.test_cfg, "max_per_img": 40}
    return model


def detect(model, name: str):
    """In the recorded image, which comes out at twice its size; in float64, where every processor computes the same.

    In float32 the masks of mask_rcnn_R_50_C4_1x amplify rounding: with AVX2 instead of AVX-512, or input noise of 1e-6,
    their areas move by up to 7 pixels, scores by 4e-5 and boxes by 0.04. In float64 neither moves anything by more than
    1 pixel, 4e-6 and 0.004, and the recorded float32 values are at most 2 pixels, 1e-5 and 0.015 away.
    """
    recipe = api.preprocessing(name)
    unscaled = replace(recipe, steps=tuple(step for step in recipe.steps if not isinstance(step, Resize)))
    sample = preprocessor(unscaled)(formula.image(*RECORDED["image"])[..., ::-1].copy())
    geometry = ImageGeometry(sample.size, tuple(RECORDED["output"]), (0.5, 0.5))
    with torch.inference_mode():
        return model.double().predict(sample.image[None].double(), [geometry])[0]


@pytest.mark.parametrize("name", RECORDED["models"])
def test_a_checkpoint_of_detectron2_detects_what_it_detects_there(name, tmp_path):
    want = RECORDED["models"][name]
    detections = detect(limited(zoo.load_file(checkpoint(name, tmp_path), name)), name)
    assert detections.labels.tolist() == want["labels"]
    torch.testing.assert_close(detections.scores, torch.tensor(want["scores"]), rtol=0, atol=1e-4)
    torch.testing.assert_close(detections.boxes, torch.tensor(want["boxes"]), rtol=0, atol=0.1)
    if "areas" in want:
        gap = (detections.masks.sum(dim=(1, 2)) - torch.tensor(want["areas"])).abs()
        assert (gap <= 2 + 0.002 * torch.tensor(want["areas"])).all()


def test_every_architecture_of_detectron2_builds():
    from zoo.models.build import build_detector

    for name in filter(lambda name: name.startswith("detectron2/"), api.architecture_names()):
        with torch.device("meta"):
            build_detector(api.architecture(name))
