from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from benchmarks.cli import main
from benchmarks.results import agreement, fingerprint
from benchmarks.results.store import Store
from benchmarks.speed import image_folder, inference, optimizations, targets
from benchmarks.speed import images as images
from benchmarks.speed.config import BenchmarkConfig
from benchmarks.speed.options import Options
from benchmarks.speed.targets import Target
from benchmarks.speed.workload import DetectorWorkload
from tests.benchmarks.stub import StubDetector
from zoo.errors import FetchError, UsageError
from zoo.structures import Detections

QUICK = {"min_iterations": 3, "min_seconds": 0}


@pytest.fixture(scope="module")
def photos():
    return images.generated(3, (96, 128))


def test_a_record_says_what_was_measured_and_on_what(photos):
    record = inference.measure(StubDetector(), "stub", photos, BenchmarkConfig(overrides=QUICK), {"weights": "random"})
    assert record.ok and (record.kind, record.protocol, record.model) == ("inference", "interleaved", "stub")
    p = record.parameters
    assert (p["batch"], p["precision"], p["weights"], p["resolution"]) == (1, "fp32", "random", {"96x128": 3})
    assert p["departs_in"] == ["min_iterations", "min_seconds"] and p["timed"]["data_loading"] is False
    m = record.metrics
    assert m["fps"] > 0 and len(record.samples["latency_s"]) == m["images"] == 3
    assert m["resident_peak_mib"] > 50 and "cuda_allocated_mib" not in m
    assert len(fingerprint.images(record.samples["detections"])[0]) == 10
    assert record.environment["threads"]["intra_op"] == torch.get_num_threads()
    assert "tf32_matmul" in record.environment["numerics"]
    assert set(record.conditions) == {"before", "after", "others"}


def test_parameters_and_operations_are_counted_exactly(photos):
    record = inference.measure(StubDetector(), "stub", photos, BenchmarkConfig(overrides=QUICK))
    convs = (3 * 8 * 9) + (8 * 16 * 9 + 16) + (16 * 5 + 5)
    assert record.metrics["parameters"] == convs + 2 * 8 + 2 * 16
    cells = (24 * 32, 6 * 8, 6 * 8)
    per_cell = (3 * 8 * 9, 8 * 16 * 9, 16 * 5)
    assert record.metrics["flops"] == 2 * sum(n * c for n, c in zip(cells, per_cell))
    assert record.metrics["flops_input"] == [96, 128]


def test_every_option_reports_its_effect_on_speed_and_on_detections(photos):
    setting = BenchmarkConfig(overrides=QUICK, options=Options(fuse_conv_bn=True, channels_last=True, amp="bf16"))
    effects = inference.measure(StubDetector(), "stub", photos, setting).metrics["effects"]
    assert list(effects) == ["fuse_conv_bn", "amp", "channels_last", "all"]
    assert effects["fuse_conv_bn"]["matched"] == 1 and effects["fuse_conv_bn"]["score_difference"] < 1e-5
    assert effects["amp"]["score_difference"] > 1e-5
    for effect in effects.values():
        assert effect["detections"] == 30
        assert effect["speedup_low"] <= effect["speedup"] <= effect["speedup_high"]


def test_options_leave_the_network_itself_alone(photos):
    model = StubDetector()
    before = [value.clone() for value in model.state_dict().values()]
    optimizations.apply(model, Options(fuse_conv_bn=True, channels_last=True, amp="fp16"))
    assert all(torch.equal(a, b) for a, b in zip(before, model.state_dict().values()))
    assert optimizations.apply(model, Options()) is model


def test_half_precision_ends_at_the_heads(photos):
    model = optimizations.apply(StubDetector(), Options(amp="bf16"))
    result = DetectorWorkload(model, photos, precision=torch.bfloat16)
    detections = result.compute(result.load(0))[0]
    assert detections.boxes.dtype == detections.scores.dtype == torch.float32


def test_useless_or_unknown_options_are_misuse():
    with pytest.raises(UsageError, match="no batch norm"):
        optimizations.apply(torch.nn.Linear(1, 1).eval(), Options(fuse_conv_bn=True))
    with pytest.raises(UsageError, match="bf16 or fp16"):
        Options(amp="int8")


def test_a_batch_is_padded_to_its_largest_image():
    workload = DetectorWorkload(
        StubDetector(), [np.zeros((64, 96, 3), np.uint8), np.ones((96, 64, 3), np.uint8)], batch=2
    )
    assert len(workload) == 1
    images = workload.load(0).images
    assert images.shape == (2, 3, 96, 96)
    assert images[0].abs().sum() == 0 == images[1, :, :, 64:].abs().sum() and images[1, :, :, :64].min() > 0


def some(scores: list[float], shift: float = 0.0, label: int = 0) -> Detections:
    n = len(scores)
    boxes = torch.arange(n)[:, None] * 100 + torch.tensor([0.0, 0.0, 50.0, 50.0]) + shift
    return Detections(boxes, torch.tensor(scores), torch.full((n,), label))


def test_agreement_counts_what_is_found_again_and_the_largest_differences():
    same = agreement.compare([some([0.9, 0.5])], [some([0.9, 0.5])])
    assert (same.detections, same.matched, same.score_difference, same.box_difference, same.added) == (2, 1, 0, 0, 0)
    moved = agreement.compare([some([0.9, 0.5])], [some([0.8, 0.5], shift=2)])
    assert moved.matched == 1 and moved.box_difference == 2
    assert moved.score_difference == pytest.approx(0.1)
    other = agreement.compare([some([0.9, 0.5])], [some([0.9, 0.5], label=1)])
    assert (other.matched, other.added) == (0, 2)
    assert agreement.compare([some([])], [some([])]).matched == 1
    assert agreement.compare([some([0.9])], [some([])]).matched == 0


def test_agreement_matches_each_detection_once():
    twice = Detections(torch.tensor([[0.0, 0, 50, 50]] * 2), torch.tensor([0.9, 0.8]), torch.zeros(2, dtype=torch.long))
    result = agreement.compare([twice], [some([0.9])])
    assert (result.matched, result.score_difference) == (0.5, 0)


def run(monkeypatch, tmp_path, capsys, *arguments, load=StubDetector):
    target = Target("stub", "random", load, {})
    monkeypatch.setattr(targets, "choose", lambda *_: [target])
    path = str(tmp_path / "results.db")
    quick = [] if "--protocol" in arguments else ["--set", "min_iterations=2", "--set", "min_seconds=0"]
    status = main.main(["inference", "--results", path, "--limit", "2", *quick, *arguments])
    return status, capsys.readouterr(), Store(path).select()


def test_the_command_stores_what_it_prints(monkeypatch, tmp_path, capsys):
    status, printed, records = run(monkeypatch, tmp_path, capsys, "--json")
    assert status == 0 and [record.to_dict() for record in records] == json.loads(printed.out)
    assert records[0].parameters["images"] == "2 generated"
    status, printed, records = run(monkeypatch, tmp_path, capsys, "--fuse-conv-bn")
    assert "fps" in printed.out and "fuse_conv_bn:" in printed.out and len(records) == 2


def broken() -> StubDetector:
    raise FetchError("no mirror has it.")


def test_a_failed_row_is_never_reported_as_zero_fps(monkeypatch, tmp_path, capsys):
    status, printed, (record,) = run(monkeypatch, tmp_path, capsys, load=broken)
    assert (status, record.status, record.reason) == (1, "failed", "no mirror has it.")
    assert "fps" not in record.metrics and "fps" not in printed.out
    assert "failed: no mirror has it." in printed.out and "bench: stub: no mirror has it." in printed.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--protocol", "guess"], "No protocol 'guess'"),
        (["--set", "speed"], "KEY=VALUE"),
        (["--set", "speed=1"], "no parameter 'speed'"),
        (["--images", "nowhere"], "nowhere is not a folder"),
        (["--device", "cuda:7"], "device 'cuda:7' cannot be used here"),
        (["--protocol", "mmdet-v2", "--batch-size", "2"], "defined for batch 1"),
    ],
)
def test_misuse_is_one_sentence_and_exit_status_2(monkeypatch, tmp_path, capsys, arguments, sentence):
    status, printed, records = run(monkeypatch, tmp_path, capsys, *arguments)
    assert status == 2 and records == []
    assert sentence in printed.err and printed.err.count("\n") == 1


def test_a_folder_gives_its_images_by_name(tmp_path):
    for name in ("b.jpg", "a.PNG", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in image_folder.in_folder(tmp_path)] == ["a.PNG", "b.jpg"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="has no images"):
        image_folder.in_folder(tmp_path / "empty")


def test_generated_images_are_always_the_same():
    first, second = images.generated(2)
    assert first.shape == (480, 640, 3) and first.dtype == np.uint8
    assert np.array_equal(first, images.generated(1)[0]) and not np.array_equal(first, second)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_on_a_gpu_events_and_three_memories_are_recorded_and_detections_stay(photos):
    setting = BenchmarkConfig(device="cuda", overrides=QUICK, options=Options(channels_last=True))
    record = inference.measure(StubDetector(), "stub", photos, setting)
    assert len(record.samples["device_s"]) == len(record.samples["latency_s"])
    m = record.metrics
    assert 0 < m["cuda_allocated_mib"] <= m["cuda_reserved_mib"] and "nvml_process_mib" in m
    assert "resident_peak_mib" not in m and m["effects"]["channels_last"]["matched"] == 1
    assert {"tf32_matmul", "tf32_cudnn"} <= set(record.environment["numerics"])
