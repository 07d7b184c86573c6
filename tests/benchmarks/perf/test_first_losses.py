"""`python -m benchmarks.perf.first_losses`."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.perf import first_losses
from benchmarks.speed.compare_training import OURS
from benchmarks.speed.peers.external import PeerError

NAME = "faster_rcnn_r50_fpn_1x_coco"


@pytest.fixture
def losses(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the peer's process answers: losses, a reason why it does not, or an error of ours."""
    answer: dict[str, Any] = {}

    def gather(request: Any, stack: Any) -> Any:
        if isinstance(answer.get("peer"), str):
            return {OURS: SimpleNamespace(losses={"loss_cls": 2.0})}, {"mmdet": answer["peer"]}
        if "error" in answer:
            raise answer["error"]
        sides = {OURS: {"loss_cls": 2.0}, "mmdet": answer["peer"]}
        return {name: SimpleNamespace(losses=own) for name, own in sides.items()}, {}

    monkeypatch.setattr(first_losses, "gather", gather)
    return answer


def run(monkeypatch: pytest.MonkeyPatch, out: Path, *words: str) -> tuple[int, list[dict[str, str]]]:
    """Exit status, and the rows of the file."""
    monkeypatch.setattr(sys, "argv", ["first_losses", "--out", str(out), *words])
    status = first_losses.main()
    with out.open() as file:
        return status, list(csv.DictReader(file))


def test_equal_losses_are_equal(losses, monkeypatch, tmp_path):
    losses["peer"] = {"loss_cls": 2.0001}
    status, (row,) = run(monkeypatch, tmp_path / "out.csv", NAME)
    assert status == 0 and row["result"] == "equal" and float(row["difference"]) == pytest.approx(5e-5)
    assert row["architecture"] == NAME and row["losses"] == "1" and row["reason"] == ""


def test_a_network_that_differs_ends_with_status_1(losses, monkeypatch, tmp_path):
    losses["peer"] = {"loss_cls": 2.1}
    status, (row,) = run(monkeypatch, tmp_path / "out.csv", NAME)
    assert status == 1 and row["result"] == "differs" and "2.1000 instead of 2.0000" in row["reason"]


@pytest.mark.parametrize("answer", [{"peer": "mmdet: no such file"}, {"error": PeerError("mmdet: no such file")}])
def test_what_does_not_run_is_not_compared_and_the_others_are(losses, monkeypatch, tmp_path, answer):
    losses.update(answer)
    status, found = run(monkeypatch, tmp_path / "out.csv", NAME, "retinanet_r50_fpn_1x_coco")
    assert status == 0 and [row["result"] for row in found] == ["not compared"] * 2
    assert all("no such file" in row["reason"] for row in found)


def test_without_names_every_kind_of_head_has_one_network():
    names = first_losses.one_of_each_kind("mmdetection")
    assert len(names) == len(set(names)) and NAME in names
    assert {"ssd300_coco", "htc_r50_fpn_1x_coco", "yolof_r50_c5_8x8_1x_coco"} <= set(names)
    assert not any(name.startswith(("detectron2/", "torchvision/")) for name in names)


def test_a_network_of_one_size_keeps_it():
    assert first_losses.fitting("ssd300_coco", 200) is None
    assert first_losses.fitting(NAME, 200) == 200
