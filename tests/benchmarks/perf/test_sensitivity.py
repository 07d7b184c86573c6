"""The trial of recorded values."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

import zoo
from benchmarks.parity import reference
from benchmarks.perf import sensitivity
from benchmarks.perf.used_tolerance import Watch, part_of_arrays

ROOT = Path(__file__).parents[3]
PASSES_BARELY = """
import numpy as np
import pytest
import torch

def test_of_numbers():
    assert {"a": [1.08]} == {"a": pytest.approx([1.0], abs=0.1)}
    assert 2.0 != pytest.approx(1.0)

def test_of_tensors():
    torch.testing.assert_close([torch.tensor([1.0, 1.05])], [torch.ones(2)], rtol=0, atol=0.1)
    assert np.allclose(1.0, 1.0)

def test_that_fails():
    assert 2.0 == pytest.approx(1.0)

def test_that_is_skipped():
    pytest.skip("for a reason")
"""


def test_each_test_says_how_much_of_its_tolerance_it_used(tmp_path) -> None:
    (tmp_path / "test_some.py").write_text(PASSES_BARELY)
    watch = Watch()
    with watch.comparisons():
        pytest.main(["-q", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", str(tmp_path)], plugins=[watch])
    used = {name.rpartition("::")[2]: part for name, part in watch.used.items()}
    assert used == {
        "test_of_numbers": pytest.approx(0.8),
        "test_of_tensors": pytest.approx(0.5, rel=1e-3),
        "test_that_fails": math.inf,
    }


def test_a_trial_of_tests_that_was_stopped_runs_only_the_others(tmp_path) -> None:
    (tmp_path / "test_stopped.py").write_text(PASSES_BARELY)
    told: dict[str, float] = {}
    arguments = ["-q", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", str(tmp_path)]
    for known in ({}, {"test_stopped.py::test_of_numbers": 0.25}):
        told.clear()
        watch = Watch(known, told.__setitem__)
        with watch.comparisons():
            pytest.main(arguments, plugins=[watch])
        assert watch.used == told | known and len(told) == 3 - len(known)


def test_the_files_with_recorded_values_exist() -> None:
    for name in sensitivity.RECORDED_TESTS:
        path, _, test = name.partition("::")
        assert f"def {test or 'test_'}" in (ROOT / path).read_text()


def test_values_without_room_take_nothing() -> None:
    assert part_of_arrays(torch.ones(2), torch.ones(2), (0.0, 0.0)) == 0
    assert part_of_arrays(torch.ones(0), torch.ones(0), (0.0, 1.0)) == 0


def test_noise_is_that_of_the_type_and_the_same_each_time() -> None:
    for dtype, size in ((torch.float32, 1e-6), (torch.float64, 1e-6 * 2.0**-29)):
        images = torch.ones(1, 3, 32, 32, dtype=dtype)
        noise = sensitivity.disturbed(images) - 1
        assert noise.std().item() == pytest.approx(size, rel=0.1)
        assert torch.equal(sensitivity.disturbed(images) - 1, noise)


def test_noise_reaches_every_detector_and_ends() -> None:
    model, images = zoo.build("yolox_nano_8x8_300e_coco"), torch.ones(1, 3, 64, 64)
    with torch.inference_mode():
        plain = model.features(images)[0]
        with sensitivity.noisy():
            assert not torch.equal(model.features(images)[0], plain)
        assert torch.equal(model.features(images)[0], plain)


def test_what_takes_more_than_half_of_the_room_amplifies() -> None:
    assert sensitivity.verdict(0.0, [0.0, 0.4]) == "steady"
    assert sensitivity.verdict(0.0, [0.0, 0.6]) == "AMPLIFIES"
    assert sensitivity.verdict(0.9, [0.9, 0.94]) == "steady"
    assert sensitivity.verdict(math.inf, [math.inf, 0.0]) == "AMPLIFIES"


def test_a_record_is_tried_in_processes_of_their_own(monkeypatch, capsys) -> None:
    arguments = ["--parity", "yolox_nano_8x8_300e_coco", "--conditions", "AVX2, noise", "--all", "--json"]
    monkeypatch.setattr("sys.argv", ["sensitivity", *arguments])
    assert sensitivity.main() == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["record"] == "yolox_nano_8x8_300e_coco" and row["verdict"] == "steady"
    assert max(row["default"], row["AVX2, noise"]) < 1


def test_nothing_in_the_committed_trial_amplifies():
    result = {name: sensitivity.kept(ROOT / "reports" / "sensitivity.jsonl", name) for name in sensitivity.CONDITIONS}
    assert set(result["default"]) <= set(reference.names()) and result["2 threads"] and result["AVX2, noise"]
    rows = [sensitivity.row(record, result) for record in result["default"]]
    assert [row["record"] for row in rows if row["verdict"] != "steady"] == []
