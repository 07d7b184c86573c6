"""The architectures in the manifests are the reference's, to the last number."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

import zoo
from zoo.errors import BuildError
from zoo.manifest import api
from zoo.manifest.entry import Entry

SIZES = {name: stated.value for name, stated in api.catalog().parameters.items()}
DIGESTS = json.loads((Path(__file__).with_name("architecture_digests.json")).read_text())


def digest(description: dict) -> str:
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:16]


def test_every_architecture_of_the_reference_is_there_and_others_only_from_elsewhere():
    assert len(DIGESTS) == 404
    others = set(api.architecture_names()) - set(DIGESTS)
    assert set(DIGESTS) <= set(api.architecture_names())
    users = [api.representative(name) for name in others]
    version_2 = [e for e in users if not of_version_3(e)]
    assert {entry.origin for entry in version_2} == {"authors", "demo", "detectron2", "torchvision"}


def of_version_3(entry: Entry) -> bool:
    """Whether MMDetection 3.x published it, or links a file of another model in its place."""
    if entry.checkpoint is None:
        return any(note.startswith("suspect_weights") for note in entry.notes)
    return entry.checkpoint.format == "mmdet-v3"


@pytest.mark.parametrize("name", sorted(DIGESTS))
def test_merging_gives_exactly_the_description_of_the_reference(name):
    assert digest(api.architecture(name)) == DIGESTS[name]


def test_a_description_is_the_callers_own():
    first = api.architecture("retinanet_r101_fpn_1x_coco")
    first["backbone"]["depth"] = 18
    assert api.architecture("retinanet_r101_fpn_1x_coco")["backbone"]["depth"] == 101


def test_a_field_is_traced_to_the_line_that_states_it():
    place = api.where("retinanet_r101_fpn_1x_coco", ["neck", "add_extra_convs"])
    assert place is not None
    file, line = place.rsplit(":", 1)
    assert Path(file).name == "components.yaml"
    assert "add_extra_convs: on_input" in Path(file).read_text().splitlines()[int(line) - 1]


def test_every_model_of_the_zoo_has_a_number_of_parameters():
    assert [name for name in api.list_models() if api.get(name).parameters is None] == []


@pytest.mark.parametrize("name", sorted(SIZES)[::40])
def test_a_network_has_as_many_parameters_as_the_manifest_says(name):
    import torch

    try:
        with torch.device("meta"):  # without the work of initializing
            network = zoo.build(name)
    except (NotImplementedError, BuildError):  # some constructors compute with numbers
        network = zoo.build(name)
    assert sum(p.numel() for p in network.parameters()) == SIZES[name]
