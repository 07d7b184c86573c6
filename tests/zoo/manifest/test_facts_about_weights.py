"""What the manifests say about hosts, other files and hashes is what was gathered about them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from zoo.download.locations import model_file
from zoo.manifest import api

FACTS = Path(__file__).resolve().parents[4] / "shared" / "facts"
pytestmark = pytest.mark.skipif(not (FACTS / "alternates.json").exists(), reason="../shared/facts is not there")


@pytest.fixture(scope="module")
def facts():
    return json.loads((FACTS / "alternates.json").read_text())


def test_the_alternates_are_those_with_the_same_training_timestamp(facts):
    stated = {
        row["model"]: (row["path"], row["sha256_prefix"], row["dialect"]) for row in facts["same_weights_other_name"]
    }
    having = {
        name: api.get(name).alternates for name in api.list_models(origin="mmdetection") if api.get(name).alternates
    }
    assert {name: (one.path, one.sha256, one.format.replace("-", "_")) for name, (one,) in having.items()} == stated


def test_the_living_mirror_is_not_asked_for_files_under_their_own_names_that_have_another_there(facts):
    for row in facts["same_weights_other_name"]:
        assert not any("onedl" in url for url in api.get(row["model"]).checkpoint.urls)
        assert any("onedl" in url for url in api.get(row["model"]).alternates[0].urls)


def test_every_backbone_on_the_hub_is_looked_for_there():
    known = json.loads((FACTS / "backbones_on_the_hub.json").read_text())
    (mirror,) = [mirror for mirror in api.mirrors() if mirror.name == "hub-backbones"]
    assert mirror.url.rstrip("/") == known["base"].rstrip("/")
    listed = known["files"].values() if isinstance(known["files"], dict) else known["files"]
    paths = {each if isinstance(each, str) else each["path"] for each in listed}
    assert set(mirror.listed.values()) == paths


def test_whole_hashes_are_the_public_ones():
    text = (FACTS / "WEIGHTS.md").read_text()
    public = set(re.findall(r"\b[0-9a-f]{64}\b", text))
    entries = [entry for name in api.catalog().models if (entry := api.get(name)).checkpoint is not None]
    stated = {model_file(entry).sha256 for entry in entries}
    assert len(public) == 12 and public <= stated


def test_authors_models_have_the_published_figures_and_say_what_was_not_checked():
    text = (FACTS / "WEIGHTS.md").read_text()
    for name, figure in {
        "facebook/detr_r50": "42.0",
        "facebook/detr_r101": "43.5",
        "facebook/detr_r50_dc5": "43.3",
        "facebook/detr_r101_dc5": "44.9",
        "sensetime/deformable_detr_r50_refine_twostage": "46.9",
        "megvii/yolox_x": "51.1",
        "microsoft/mask_rcnn_swin-t_3x": "46.0",
        "wxinlong/solov2_x101_dcn_3x": "42.4",
        "adelaidet/fcos_R_50_1x": "38.7",
    }.items():
        (values,) = api.get(name).metrics.values()
        assert next(iter(values.values())) == float(figure) and figure in text
    for name in api.list_models(origin="authors"):
        entry = api.get(name)
        assert len(model_file(entry).sha256 or "") == 64 or any("not tried" in note for note in entry.notes), name
