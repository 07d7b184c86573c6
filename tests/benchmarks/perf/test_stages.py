"""The benchmark of a detector's stages, on a small image."""

from __future__ import annotations

import json

import pytest
import torch

from benchmarks.perf import stages


@pytest.fixture(scope="module")
def scene():
    with torch.inference_mode():
        scene = stages.Scene.of((96, 128))
        scene.ours.roi_head.test_cfg["max_per_img"] = scene.theirs.roi_heads.detections_per_img = 4  # masks take long
        yield scene


@pytest.mark.parametrize("name", [name for name in stages.STAGES if name != "evaluate"])
def test_every_stage_is_measured_in_every_way_that_there_is(scene, name):
    row = stages.measure(name, stages.STAGES[name], scene, rounds=1)
    assert row["stage"] == name and row["ours, s"] > 0
    others = [key for key in row if key.endswith("/ ours") and row[key] is not None]
    assert others and all(row[key] > 0 for key in others)


def test_the_simple_ways_find_what_ours_find(scene):
    with torch.inference_mode():
        for name in ("proposals", "boxes"):
            ways = stages.STAGES[name](scene)
            have, want = ways["ours"](), ways["simple"]()
            have = have[0] if isinstance(have, list) else have
            assert torch.allclose(have.boxes, want[:, :4], atol=1e-3) and torch.allclose(have.scores, want[:, 4])
        ways = stages.paste(scene)
        assert (ways["ours"]() == ways["simple"]()).float().mean() > 0.999
        ways = stages.regions(scene)
        assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(ways["ours"](), ways["simple"]()))


def test_the_table_says_how_many_times_as_long_the_others_take(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["stages", "-k", "encode", "--rounds", "1", "--size", "64x64", "--json"])
    stages.main()
    (row,) = json.loads(capsys.readouterr().out)
    assert row["simple / ours"] == pytest.approx(row["simple, s"] / row["ours, s"]) and row["torchvision, s"] is None
