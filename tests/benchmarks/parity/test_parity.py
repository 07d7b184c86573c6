from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.cli import main
from benchmarks.parity import compare, formula, reference, run
from benchmarks.parity.compare import TOLERANCES
from benchmarks.parity.run import check
from benchmarks.results.store import Store
from benchmarks.speed.options import Options
from zoo.errors import UsageError
from zoo.structures import Detections

EXACT = TOLERANCES[None]


@pytest.mark.parametrize(
    "name",
    [
        "yolox_nano_8x8_300e_coco",
        "retinanet_r18_fpn_1x_coco",
        "rpn_r50_fpn_1x_coco",
        "mask_rcnn_r50_caffe_fpn_1x_coco",
        "rtmdet_tiny_8xb32-300e_coco",
        "rtmdet-ins_tiny_8xb32-300e_coco",
    ],
)
def test_networks_equal_the_recorded_reference(name):
    outcome = check(name)
    assert outcome.equal, outcome.metrics
    assert outcome.metrics["score_difference"] < 1e-4


def test_the_trace_is_module_by_module_and_small_everywhere():
    outcome = check("retinanet_r18_fpn_1x_coco", trace=True)
    assert {gap.module for gap in outcome.gaps} >= {"backbone", "neck"}
    assert all(gap.relative is not None and gap.relative < 1e-3 for gap in outcome.gaps)


def test_folding_batch_norm_does_not_change_the_detector():
    assert check("yolox_nano_8x8_300e_coco", options=Options(fuse_conv_bn=True, channels_last=True)).equal


def test_a_network_with_one_changed_weight_does_not_pass(monkeypatch):
    def disturbed(model: nn.Module, gains) -> None:
        fill(model, gains)
        with torch.no_grad():
            model.backbone.conv1.weight.mul_(1.5)

    fill = formula.fill
    monkeypatch.setattr(formula, "fill", disturbed)
    outcome = check("retinanet_r18_fpn_1x_coco", trace=True)
    assert not outcome.equal
    assert outcome.gaps[0].relative > 1e-2


def test_other_parameter_names_are_named_before_anything_runs(monkeypatch):
    recorded = reference.read("yolox_nano_8x8_300e_coco")
    other = replace(recorded, state=[["backbone.nowhere.weight", [3]], *recorded.state[1:]])
    monkeypatch.setattr(reference, "read", lambda name: other)
    with pytest.raises(run.NotEqual, match=r"backbone.nowhere.weight \[3\] is missing"):
        check("yolox_nano_8x8_300e_coco")


def test_every_shipped_record_can_be_read_and_says_what_computed_it():
    names = reference.names()
    assert len(names) > 200
    for name in names[::20]:
        recorded = reference.read(name)
        assert recorded.name == name and recorded.state and recorded.result
        assert "MMDetection 2.28.2" in recorded.source or "MMDetection 3.3.0" in recorded.source


def test_a_model_stands_for_its_architecture_and_an_unknown_name_is_misuse():
    assert reference.read("retinanet_r18_fpn_1x_coco").family == "retinanet"
    with pytest.raises(UsageError, match="No recorded result of family 'nothing'"):
        reference.of_family("nothing")


def test_the_formula_never_changes():
    """The recorded results were computed from these values."""
    assert formula.draw("a.weight", (1, 2), [])[0].tolist() == pytest.approx([-0.38463539, -1.1615926], abs=1e-7)
    assert formula.draw("a.bias", (2,), [("a", 3.0), ("a.bias", 2.0)]).tolist() == pytest.approx(
        [0.10880268, 0.02271006], abs=1e-7
    )
    assert formula.image(64, 80, 0).sum(dtype=np.int64) == 1894337


def test_the_last_matching_gain_counts():
    plain = formula.draw("neck.conv.weight", (2, 3), [])
    scaled = formula.draw("neck.conv.weight", (2, 3), [("neck", 5.0), ("neck.conv", 0.5), ("head", 9.0)])
    assert np.allclose(scaled, plain * 0.5)


ROWS = np.array([[0, 0.9, 0, 0, 50, 50], [1, 0.5, 100, 100, 150, 150]], np.float64)


def found(rows: np.ndarray) -> Detections:
    t = torch.from_numpy(rows)
    return Detections(t[:, 2:].float(), t[:, 1].float(), t[:, 0].long())


def test_equal_detections_are_found_and_others_are_not():
    assert compare.boxes(ROWS, found(ROWS), EXACT)["boxes"] == 1
    for column, change in ((0, 1), (1, 0.01), (2, 5)):
        other = ROWS.copy()
        other[0, column] += change
        assert compare.boxes(ROWS, found(other), EXACT)["boxes"] == 0.5
    assert compare.boxes(ROWS, found(ROWS[:0]), EXACT)["boxes"] == 0
    assert compare.boxes(ROWS[:0], found(ROWS[:0]), EXACT)["boxes"] == 1


def test_one_detection_does_not_stand_for_two():
    twice = np.concatenate([ROWS[:1], ROWS[:1]])
    assert compare.boxes(twice, found(ROWS[:1]), EXACT)["boxes"] == 0.5


def test_boxes_without_area_are_equal_to_themselves():
    flat = np.array([[0, 0.9, 10, 10, 10, 10]], np.float64)
    assert compare.boxes(flat, found(flat), EXACT)["boxes"] == 1


def test_masks_are_compared_by_overlap():
    a, b = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    a[:2], b[:3] = True, True
    assert compare.mask_iou(a, b) == pytest.approx(2 / 3)
    assert compare.mask_iou(a[:0], b[:0]) == 1 and compare.mask_iou(a, b[:2]) == 0


def test_the_command_prints_a_verdict_and_keeps_the_record(tmp_path, capsys):
    path = str(tmp_path / "results.db")
    assert main.main(["parity", "yolox_nano_8x8_300e_coco", "--trace", "--results", path]) == 0
    printed = capsys.readouterr()
    assert "equal" in printed.out and "backbone" in printed.out
    (record,) = Store(path).select()
    assert record.kind == "parity" and record.metrics["equal"] is True


def test_the_command_fails_when_a_network_differs(capsys, monkeypatch):
    monkeypatch.setattr(formula, "fill", lambda model, gains: None)
    assert main.main(["parity", "yolox_nano_8x8_300e_coco", "--json"]) == 1
    (record,) = json.loads(capsys.readouterr().out)
    assert record["metrics"]["equal"] is False


def test_without_a_name_the_command_says_what_it_needs(capsys):
    assert main.main(["parity"]) == 2
    assert "--all" in capsys.readouterr().err
    assert main.main(["parity", "--list"]) == 0
    assert "detr_r50_8x2_150e_coco" in capsys.readouterr().out.split()


def test_parity_is_measured_without_tf32_and_says_so(monkeypatch):
    seen = []
    conv = torch.backends.cudnn.conv
    before = conv.fp32_precision
    conv.fp32_precision = "tf32"
    monkeypatch.setattr(run, "check", lambda *_: seen.append(conv.fp32_precision) or run.Outcome({}, True))
    record = run.measure(reference.names()[0])
    assert seen == ["ieee"] and record.environment["numerics"]["tf32_cudnn"] is False
    assert conv.fp32_precision == "tf32"
    conv.fp32_precision = before
