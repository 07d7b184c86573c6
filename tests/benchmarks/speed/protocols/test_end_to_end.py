"""From image bytes to encoded detections: stages that sum to the whole, and streams that detect the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

import zoo
from benchmarks.speed import images, inference
from benchmarks.speed.config import BenchmarkConfig
from benchmarks.speed.pipeline import STAGES, NetworkClock, Pipeline, contents
from benchmarks.speed.protocols import end_to_end
from benchmarks.speed.workload import DetectorWorkload
from zoo.errors import UsageError, ZooError

QUICK = {"min_seconds": 0, "loaded": 4, "num_warmup": 1}


@pytest.fixture(scope="module")
def network() -> Any:
    return zoo.load("demo_mask_rcnn")


def test_stages_sum_to_the_whole_and_each_takes_time(network: Any) -> None:
    setting = BenchmarkConfig(protocol="end-to-end", overrides=QUICK)
    record = inference.measure(network, "demo_mask_rcnn", images.generated(4), setting)
    stages = {stage: record.metrics[f"stage_ms_{stage}"] for stage in STAGES}
    assert all(value > 0 for value in stages.values())
    assert abs(record.metrics["unaccounted_share"]) < 0.03
    whole = 1000 * np.mean(record.samples["latency_s"])
    assert sum(stages.values()) == pytest.approx(whole, rel=0.03)
    assert record.metrics["overlapped_fps"] > 0 and record.parameters["streams"] == 2
    assert all(record.parameters["timed"].values())


def test_files_and_arrays_give_their_bytes(tmp_path: Path) -> None:
    (image,) = images.generated(1)
    cv2.imwrite(str(tmp_path / "a.png"), image)
    of_file, of_array = contents([tmp_path / "a.png", image])
    assert of_file.tobytes() == (tmp_path / "a.png").read_bytes()
    assert of_array.tobytes().startswith(b"\xff\xd8")


def test_a_pipeline_detects_what_detect_does(network: Any, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), images.generated(1)[0])
    pipeline = Pipeline(DetectorWorkload(network, []), lambda: None)
    (want,) = network.detect([tmp_path / "a.png"])
    (have,) = pipeline.whole(contents([tmp_path / "a.png"])[0])
    assert torch.equal(want.boxes, have.boxes) and torch.equal(want.scores, have.scores)
    assert pipeline.encode([have]).startswith('[{"label"')


def test_streams_that_detect_something_else_are_an_error(network: Any) -> None:
    (some,) = network.detect(images.generated(1))
    assert len(some) > 2
    end_to_end.check_equal([some], [some])
    with pytest.raises(ZooError, match="overlapped images give other detections than serial ones: image 0: "):
        end_to_end.check_equal([some], [some[:2]])


def test_the_network_is_counted_once_however_its_parts_nest() -> None:
    model = torch.nn.Sequential(torch.nn.Sequential(torch.nn.Linear(2, 2)), torch.nn.Linear(2, 2))
    clock = NetworkClock(model, lambda: None)
    with clock.running():
        model[0](torch.zeros(1, 2))
    first = clock.seconds
    model(torch.zeros(1, 2))  # switched off
    assert first > 0 and clock.seconds == first and clock.depth == 0


def test_only_detectors_in_this_process_are_cut_into_stages() -> None:
    with pytest.raises(UsageError, match="cuts a detector into stages"):
        end_to_end.measure(object(), torch.device("cpu"), 2, 1, 0.0, 1)
