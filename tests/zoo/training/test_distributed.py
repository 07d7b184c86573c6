"""Two processes under torchrun, over gloo."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from zoo.errors import UsageError
from zoo.training import distributed

ROOT = Path(__file__).parents[3]


def test_two_processes_keep_the_same_weights_and_resume_exactly(shapes: Path, tmp_path: Path) -> None:
    script = ROOT / "tests" / "zoo" / "training" / "two_processes.py"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command += [str(script), str(shapes), str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    first, second = json.loads((tmp_path / "found.json").read_text())
    assert first["weights"] == second["weights"]
    assert len(first["losses"]) == 3, "12 images in steps of 2 processes, 2 batches and 1 image each"
    assert first["losses"] != second["losses"], "each has images of its own"
    for process in (first, second):
        assert process["resumed"] == process["losses"][1:]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_refused_in_a_sentence() -> None:
    with pytest.raises(UsageError, match="device 'cuda:0' cannot be used here"):
        distributed.join("cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_needs_no_number() -> None:
    assert distributed.join("cuda").device == torch.device("cuda", 0)
