from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from benchmarks.speed import compare, images
from benchmarks.speed.compare import CompareConfig
from benchmarks.speed.config import BenchmarkConfig
from benchmarks.speed.peers import counterparts, external
from benchmarks.speed.peers.external import ExternalWorkload, PeerError
from zoo.errors import UsageError
from zoo.manifest import api

WORKER = """
import sys
sys.path.insert(0, {workers!r})
import torch
from serve import serve
import json as module_with_a_version
module_with_a_version.__version__ = "1.2.3"

class Detector:
    implementation, module = "peer", module_with_a_version
    def __init__(self, request):
        if request["config"] == "missing":
            raise FileNotFoundError("no such configuration")
        print("libraries talk a lot")
        self.model = torch.nn.Linear(3, 1)
    def load(self, path):
        return open(path, "rb").read(), (800, 1216)
    def compute(self, image):
        if not image.startswith(b"\\x89PNG"):
            sys.exit("this is the end")
        return [[1.0, 2.0, 3.0, 4.0]]
    def rows(self, found):
        return found, [0.5], [7]

serve(Detector)
"""


@pytest.fixture
def script(tmp_path) -> Path:
    path = tmp_path / "rival_worker.py"
    path.write_text(WORKER.format(workers=str(external.WORKERS)))
    return path


def start(script: Path, files: list[Path], config: str = "config") -> ExternalWorkload:
    return ExternalWorkload("peer", sys.executable, config, files, script=script)


def test_a_rival_in_another_process_times_itself_and_tells_what_it_found(script, tmp_path):
    (file,) = compare.as_files(images.generated(1, (64, 64)), tmp_path)
    peer = start(script, [file])
    try:
        assert peer.facts["version"] == "1.2.3" and peer.facts["parameters"] == 4
        batch = peer.load(0)
        assert 0 < peer.time(batch)[1].seconds < 1
        (found,) = peer.compute(batch)
        assert found.boxes.tolist() == [[1, 2, 3, 4]] and found.labels.tolist() == [7]
    finally:
        peer.close()
    assert peer.process.poll() == 0


def test_an_error_of_the_rival_is_one_sentence(script, tmp_path):
    with pytest.raises(PeerError, match="peer: FileNotFoundError: no such configuration"):
        start(script, [], "missing")
    with pytest.raises(PeerError, match="cannot be started"):
        ExternalWorkload("peer", str(tmp_path / "nopython"), "config", [], script=script)


def test_a_rival_that_dies_leaves_its_last_words(script, tmp_path):
    file = tmp_path / "image.png"
    file.write_text("no image")
    peer = start(script, [file])
    peer.load(0)
    with pytest.raises(PeerError, match=r"ended: this is the end"):
        peer.time(0)


def test_counterparts_are_found_by_the_network_that_they_are():
    assert counterparts.counterpart("faster_rcnn_r50", "torchvision") == "fasterrcnn_resnet50_fpn"
    assert counterparts.counterpart("torchvision/maskrcnn_resnet50_fpn", "torchvision") == "maskrcnn_resnet50_fpn"
    assert counterparts.counterpart("retinanet_r50_fpn_1x_coco", "detectron2") == "COCO-Detection/retinanet_R_50_FPN_1x"
    assert counterparts.counterpart("cascade_mask_rcnn_r50", "detectron2") == "Misc/cascade_mask_rcnn_R_50_FPN_1x"
    assert counterparts.counterpart("detectron2/rpn_R_50_C4_1x", "detectron2") == "COCO-Detection/rpn_R_50_C4_1x"
    assert counterparts.counterpart("detr_r50_8x2_150e_coco", "mmdet") == "configs/detr/detr_r50_8x2_150e_coco.py"
    assert counterparts.counterpart("detectron2/rpn_R_50_C4_1x", "mmdet") == "configs/rpn/rpn_r50_caffe_c4_1x_coco.py"
    with pytest.raises(counterparts.NoCounterpart, match="MMDetection has no counterpart of torchvision/ssdlite"):
        counterparts.counterpart("torchvision/ssdlite320_mobilenet_v3_large", "mmdet")
    with pytest.raises(counterparts.NoCounterpart, match="torchvision has no counterpart of detr"):
        counterparts.counterpart("detr_r50_8x2_150e_coco", "torchvision")
    with pytest.raises(UsageError, match="No peer 'keras'"):
        counterparts.counterpart("detr_r50_8x2_150e_coco", "keras")


def test_what_is_said_to_be_detectron2s_is_there_and_built_like_ours():
    for ours, theirs in counterparts.DETECTRON2.items():
        one, other = api.architecture(ours), api.architecture(f"detectron2/{theirs}")
        assert one["type"] == other["type"] and one["backbone"]["depth"] == other["backbone"]["depth"]


def test_an_absent_rival_shows_what_it_published_with_the_hardware():
    number = counterparts.published("faster_rcnn_r50_fpn_1x_coco", "detectron2")
    assert number is not None and number.fps == pytest.approx(26.3, abs=0.1) and number.hardware == "V100"
    other = counterparts.published("detectron2/retinanet_R_50_FPN_3x", "mmdet")
    assert other is not None and other.source == "MMDetection's zoo, retinanet_r50_caffe_fpn_1x_coco"
    request = CompareConfig("faster_rcnn_r50_fpn_1x_coco", ["detectron2"], [])
    record = compare.absence(request, "detectron2", "not measured")
    assert record.status == "skipped" and record.parameters["published"]["fps"] == number.fps


def test_ours_and_a_rival_are_measured_in_turns(monkeypatch, script):
    small = {"min_iterations": 2, "min_seconds": 0, "lap_calls": 1, "warmup_seconds": 0}
    monkeypatch.setattr(external, "WORKERS", script.parent)
    (script.parent / "detectron2_worker.py").write_text(script.read_text())
    monkeypatch.setattr(compare, "networks", lambda request: (stub(), None, "random"))
    request = CompareConfig(
        "faster_rcnn_r50_fpn_1x_coco",
        ["detectron2", "mmdet"],
        images.generated(2, (64, 64)),
        {"detectron2": sys.executable},
        setting=BenchmarkConfig(overrides=small),
    )
    ours, peer, absent = compare.run(request)
    assert (ours.parameters["peer"], peer.parameters["peer"]) == (None, "detectron2")
    assert len(ours.samples["latency_s"]) == len(peer.samples["latency_s"]) == 2
    assert ours.parameters["resolution"] == {"64x64": 2} and peer.parameters["resolution"] == {"800x1216": 2}
    assert ours.parameters["precision"] == peer.parameters["precision"] == "fp32"
    assert set(peer.parameters["tf32"]) == {"matmul", "cudnn"} and peer.parameters["threads"] >= 1
    assert set(ours.conditions) == set(peer.conditions) == {"before", "after"}
    assert ours.metrics["speedup"] == 1 and peer.metrics["speedup"] > 0
    assert peer.metrics["matched"] == 0 and ours.metrics["matched"] == 1
    assert absent.status == "skipped" and "--python mmdet=PATH" in absent.reason


def stub():
    from tests.benchmarks.stub import StubDetector

    torch.manual_seed(0)
    return StubDetector()


def test_a_checkpoint_that_leaves_a_rival_random_is_an_error(monkeypatch):
    monkeypatch.syspath_prepend(str(external.WORKERS))
    from serve import load_all

    network = torch.nn.Linear(3, 1)
    load_all(network, lambda: torch.nn.init.ones_(network.weight) + torch.nn.init.zeros_(network.bias))
    with pytest.raises(ValueError, match="has no bias; it is not one of this implementation"):
        load_all(network, lambda: torch.nn.init.ones_(network.weight))


def test_torchvision_takes_no_part_with_weights_of_another(tmp_path):
    file = tmp_path / "other.pth"
    torch.save({"state_dict": {"layer.weight": torch.ones(2)}}, file)

    class Peer:
        network = torch.nn.Linear(3, 1)

    assert compare.filled(Peer(), file) is None and compare.filled(None, file) is None
    torch.save(Peer.network.state_dict(), file)
    assert compare.filled(Peer, file) is Peer
