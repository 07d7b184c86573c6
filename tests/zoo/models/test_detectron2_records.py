"""Networks of Detectron2's zoo compute what Detectron2 computed: recorded results, formula weights."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CHECK = Path(__file__).parents[3] / ".." / "shared" / "oracle_d2" / "check_d2.py"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHECK.is_file(), reason="../shared/oracle_d2 is not here: its records are not committed"),
]


@pytest.mark.parametrize("name", ["keypoint_rcnn_R_50_FPN_1x", "mask_rcnn_regnety_4gf", "panoptic_fpn_R_50_1x"])
def test_results_equal_those_of_detectron2(name: str) -> None:
    result = subprocess.run([sys.executable, str(CHECK), "-k", name], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
