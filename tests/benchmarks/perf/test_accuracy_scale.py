"""The benchmark of evaluation at size, on few images."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import pytest
import torch

from benchmarks.perf import stand_in
from benchmarks.perf.accuracy_scale import MOMENTS, evaluate, measure

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="resident sizes are read from /proc")


@pytest.fixture
def threads():
    """Puts the numbers of threads back."""
    before = torch.get_num_threads(), cv2.getNumThreads()
    yield
    torch.set_num_threads(before[0])
    cv2.setNumThreads(before[1])


def test_two_processes_give_the_numbers_of_one() -> None:
    result = measure("demo_atss", images=9, threads=[], processes=2)
    assert result["the same numbers in all"] is True
    assert all(result[f"{way}: {moment}, MiB"] > 50 for way in ("1 process", "2 processes") for moment in MOMENTS)


def test_memory_and_speed_are_written_down_for_a_stand_in(tmp_path: Path, threads: None) -> None:
    data = stand_in.write(tmp_path / "data", 20)
    (tmp_path / "out").mkdir()
    evaluate(None, data, 2, tmp_path / "out")
    facts = json.loads((tmp_path / "out" / "0").read_text())
    assert facts["seconds"] > 0 and facts["metrics"]["box_ar_100"] >= 0
    assert facts["a tenth"] > 50 and facts["peak"] > 50
