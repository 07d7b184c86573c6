"""`zoo build`, as a user sees it."""

from __future__ import annotations

import json

import pytest

from zoo.cli.main import main


def test_a_network_is_shown_with_its_parts_and_their_parameters(capsys):
    assert main(["build", "yolox_nano", "--depth", "1", "--json"]) == 0
    rows = {row["part"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(rows) == {"(all)", "backbone", "neck", "bbox_head"}
    assert rows["backbone"]["type"] == "CSPDarknet"
    assert rows["(all)"]["parameters"] == sum(row["parameters"] for part, row in rows.items() if part != "(all)")


@pytest.mark.parametrize("depth", [1, 2])
def test_deeper_parts_are_shown_on_request(capsys, depth):
    assert main(["build", "yolox_nano", "--depth", str(depth)]) == 0
    assert ("backbone.stem" in capsys.readouterr().out) == (depth == 2)


def test_an_unknown_name_is_one_sentence_and_status_2(capsys):
    assert main(["build", "yolox_nanoo"]) == 2
    assert "yolox_nano" in capsys.readouterr().err


def test_a_missing_component_is_named_with_its_place(capsys, tmp_path, monkeypatch):
    (tmp_path / "own.yaml").write_text(
        """schema: 1
family: own
architectures:
  own: {base: yolox_nano_8x8_300e_coco, neck: {base: ~, type: FutureNeck}}
models:
  own: {dataset: coco_2017, normalization: none, preprocessing: resize_416x416_square}
"""
    )
    monkeypatch.setenv("ZOO_MANIFESTS", str(tmp_path / "own.yaml"))
    assert main(["build", "own"]) == 1
    err = capsys.readouterr().err
    assert "FutureNeck" in err and "own.yaml:4" in err and len(err.splitlines()) == 1
