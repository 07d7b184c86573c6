"""Detectors run on a pretended CUDA device without mixing devices or types, and the host rarely waits for it."""

from __future__ import annotations

import pytest
import torch

from benchmarks.perf import pretend_cuda
from benchmarks.perf.pretended_device import DeviceFault, PretendCuda

# Times that the host waits in one image, beside three copies of results to it: what must be known to go on.
WAITS = {"yolox_nano_8x8_300e_coco": 5, "retinanet_r18_fpn_1x_coco": 9}


@pytest.mark.parametrize("name", WAITS)
@pytest.mark.parametrize("mode", ["fp32", "fp16", "fuse", "channels_last", "detect"])
def test_a_detector_runs_on_the_pretended_device(name: str, mode: str) -> None:
    row = pretend_cuda.run(name, mode, backward=False, small=True)
    assert row["ok"], row
    if mode == "fp32":
        assert row["syncs"] <= WAITS[name] and "scores within 0" in row["gap"]


def test_tensors_of_two_devices_do_not_meet() -> None:
    with PretendCuda():
        moved = torch.ones(3).to("cuda")
        assert moved.device.type == "cuda" and (moved + 1).cpu().tolist() == [2, 2, 2]
        with pytest.raises(DeviceFault, match="same device"):
            moved + torch.ones(3)


def test_a_wait_is_counted_with_its_kind() -> None:
    with PretendCuda() as gpu:
        moved = torch.ones(3).to("cuda")
        gpu.clear()
        float(moved.sum())
    assert gpu.kinds["item"] == 1
