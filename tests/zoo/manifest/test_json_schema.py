"""The JSON Schema for editors says what `zoo.manifest.schema` says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zoo.manifest import json_schema, yaml_io

GENERATED = Path(__file__).resolve().parents[3] / "manifests" / "generated"


def test_the_committed_schema_is_current():
    stale = "run: python -m zoo.manifest.json_schema > manifests/generated/schema.json"
    assert json.loads((GENERATED / "schema.json").read_text()) == json_schema.document(), stale


@pytest.fixture(scope="module")
def validator():
    return pytest.importorskip("jsonschema", reason="jsonschema is not installed").Draft7Validator(
        json_schema.document()
    )


def test_every_manifest_of_the_package_conforms(validator):
    mistakes = {
        file.name: [e.message for e in validator.iter_errors(yaml_io.parse(file))] for file in yaml_io.builtin_files()
    }
    assert {name: result for name, result in mistakes.items() if result} == {}


@pytest.mark.parametrize(
    "mistaken",
    [
        {},
        {"schema": 2},
        {"schema": 1, "model": {}},
        {"schema": 1, "models": {"a": {"task": []}}},
        {"schema": 1, "models": {"a": {"checkpoint": {"sha256": "00000000"}}}},
        {"schema": 1, "models": {"a": {"speed": [{"hardware": "V100"}]}}},
        {"schema": 1, "preprocessing": {"a": {"steps": [{"resize": {"scale": [1]}}]}}},
    ],
)
def test_mistakes_do_not_conform(validator, mistaken):
    assert list(validator.iter_errors(mistaken))


def test_the_comment_for_editors_leads_to_the_schema():
    for file in yaml_io.builtin_files():
        first = file.read_text().splitlines()[0]
        if first.startswith("# yaml-language-server"):
            assert (file.parent / first.split("$schema=")[1]).resolve() == GENERATED / "schema.json", file.name
