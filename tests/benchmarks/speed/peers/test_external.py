from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch

import zoo
from benchmarks.reports.peers import table
from benchmarks.results import selection
from benchmarks.results.agreement import Agreement
from benchmarks.results.record import Record
from benchmarks.speed import compare, compare_records, contestants, images
from benchmarks.speed.compare_config import CompareConfig
from benchmarks.speed.compare_training import check_supervision, in_our_names
from benchmarks.speed.config import BenchmarkConfig
from benchmarks.speed.peers import counterparts as peers
from benchmarks.speed.peers import external, training_batch
from benchmarks.speed.peers.external import ExternalWorkload, PeerError
from benchmarks.speed.peers.random_weights import randomize
from tests.zoo.models.detectors import test_two_stage as two_stage
from zoo.errors import UsageError
from zoo.manifest import api
from zoo.models.layers.stochastic_depth import StochasticDepth

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
    path.write_text(WORKER.format(workers=str(Path(external.__file__).parent / "workers")))
    return path


def start(script: Path, files: list[Path], config: str = "config") -> ExternalWorkload:
    return ExternalWorkload("peer", sys.executable, config, files, script=script)


def test_a_rival_in_another_process_times_itself_and_tells_what_it_found(script, tmp_path):
    (file,) = images.as_files(images.generated(1, (64, 64)), tmp_path)
    peer = start(script, [file])
    try:
        assert peer.facts["version"] == "1.2.3" and peer.facts["parameters"] == 4
        batch = peer.load(0)
        assert 0 < peer.time(batch)[1].seconds < 1
        (result,) = peer.compute(batch)
        assert result.boxes.tolist() == [[1, 2, 3, 4]] and result.labels.tolist() == [7]
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
    assert peers.counterpart("faster_rcnn_r50", "torchvision") == "fasterrcnn_resnet50_fpn"
    assert peers.counterpart("torchvision/maskrcnn_resnet50_fpn", "torchvision") == "maskrcnn_resnet50_fpn"
    assert peers.counterpart("retinanet_r50_fpn_1x_coco", "detectron2") == "COCO-Detection/retinanet_R_50_FPN_1x"
    assert peers.counterpart("cascade_mask_rcnn_r50", "detectron2") == "Misc/cascade_mask_rcnn_R_50_FPN_1x"
    assert peers.counterpart("detectron2/rpn_R_50_C4_1x", "detectron2") == "COCO-Detection/rpn_R_50_C4_1x"
    assert peers.counterpart("detr_r50_8x2_150e_coco", "mmdet") == "configs/detr/detr_r50_8x2_150e_coco.py"
    assert peers.counterpart("detectron2/rpn_R_50_C4_1x", "mmdet") == "configs/rpn/rpn_r50_caffe_c4_1x_coco.py"
    with pytest.raises(peers.NoCounterpart, match="MMDetection has no counterpart of torchvision/ssdlite"):
        peers.counterpart("torchvision/ssdlite320_mobilenet_v3_large", "mmdet")
    with pytest.raises(peers.NoCounterpart, match="torchvision has no counterpart of detr"):
        peers.counterpart("detr_r50_8x2_150e_coco", "torchvision")
    with pytest.raises(UsageError, match="No peer 'keras'"):
        peers.counterpart("detr_r50_8x2_150e_coco", "keras")


def test_what_is_said_to_be_detectron2s_is_there_and_built_like_ours():
    for ours, theirs in peers.DETECTRON2.items():
        one, other = api.architecture(ours), api.architecture(f"detectron2/{theirs}")
        assert one["type"] == other["type"] and one["backbone"]["depth"] == other["backbone"]["depth"]


def test_an_absent_rival_shows_what_it_published_with_the_hardware():
    number = peers.published("faster_rcnn_r50_fpn_1x_coco", "detectron2")
    assert number is not None and number.fps == pytest.approx(26.3, abs=0.1) and number.hardware == "V100"
    other = peers.published("detectron2/retinanet_R_50_FPN_3x", "mmdet")
    assert other is not None and other.source == "MMDetection's zoo, retinanet_r50_caffe_fpn_1x_coco"
    request = CompareConfig("faster_rcnn_r50_fpn_1x_coco", ["detectron2"], [])
    record = compare_records.unavailable_record(request, "detectron2", "not measured")
    assert record.status == "skipped" and record.parameters["published"]["fps"] == number.fps


SMALL = {"min_iterations": 2, "min_seconds": 0, "lap_calls": 1, "warmup_seconds": 0}


@pytest.fixture
def compared(monkeypatch, tmp_path):
    """Runs a comparison of a tiny network with a worker script in the place of Detectron2's."""
    monkeypatch.setattr(external, "WORKERS", tmp_path)
    monkeypatch.setattr(external, "OPENING_SECONDS", 60.0)
    monkeypatch.setattr(contestants, "network", lambda request: (stub(), "random, the same"))
    monkeypatch.setattr(contestants, "peers_weights", lambda model, peer, folder: folder / "none")
    monkeypatch.setattr(contestants, "in_its_own_process", lambda *arguments: None)

    def run(script: str, patience: float = 60.0):
        (tmp_path / "detectron2_worker.py").write_text(script)
        request = CompareConfig(
            "faster_rcnn_r50_fpn_1x_coco",
            ["detectron2", "mmdet"],
            images.generated(2, (64, 64)),
            {"detectron2": sys.executable},
            setting=BenchmarkConfig(overrides=SMALL),
            patience=patience,
        )
        return compare.run(request)

    return run


def test_ours_and_a_peer_are_measured_in_turns(compared, script):
    ours, peer, absent = compared(script.read_text())
    assert peer.ok, peer.reason
    assert (ours.parameters["peer"], peer.parameters["peer"]) == (None, "detectron2")
    assert len(ours.samples["latency_s"]) == len(peer.samples["latency_s"]) == 2
    assert ours.parameters["resolution"] == {"64x64": 2} and peer.parameters["resolution"] == {"800x1216": 2}
    assert ours.parameters["precision"] == peer.parameters["precision"] == "fp32"
    assert set(peer.parameters["tf32"]) == {"matmul", "cudnn"} and peer.parameters["threads"] >= 1
    assert set(ours.conditions) == set(peer.conditions) == {"before", "after", "others"}
    assert ours.metrics["speedup"] == 1 and peer.metrics["resident_peak_mib"] > 1
    assert peer.metrics["matched"] == 0 and ours.metrics["matched"] == 1
    assert absent.status == "skipped" and "--python mmdet=PATH" in absent.reason


def test_sides_that_find_other_things_have_no_ratio(compared, script):
    _, peer, _ = compared(script.read_text())
    assert peer.parameters["same_work"] is False and peer.metrics["fps"] > 0
    assert not any(name.startswith("speedup") for name in peer.metrics)
    assert peer.parameters["remark"] == "not the same work: the sides agree on 0.0% of the detections"
    assert "input sizes 64x64 / 800x1216" in peer.parameters["differences"]
    (row,) = [row for row in table([peer]).rows]
    assert row.get("against ours") is None and "not the same work" in row["remark"]


@pytest.mark.parametrize(
    ("matched", "ours", "theirs", "same"),
    [
        (1.0, 200, 200, True),
        (0.99, 200, 200, True),
        (0.98, 200, 200, False),
        (1.0, 100, 120, False),
        (1.0, 0, 0, False),
    ],
)
def test_the_same_work_is_99_percent_of_both_sides_detections(matched, ours, theirs, same):
    assert (compare_records.verdict(Agreement(ours, matched, 0, 0, 0), theirs) is None) == same


BAD = {
    "return [[1.0, 2.0, 3.0, 4.0]]": {
        "a crash in the middle of the measurement": ("sys.exit('out of memory')", "ended: out of memory"),
        "an exception": ("raise RuntimeError('no kernel image')", "RuntimeError: no kernel image"),
        "a hang": ("import time; time.sleep(60)", "no answer within 1 seconds"),
        "other shapes": ("return [[1.0, 2.0, 3.0, 4.0]] * 2", "2 boxes, 1 scores and 1 labels"),
        "no numbers": ("return [['a', 2.0, 3.0, 4.0]]", "detections that are no numbers"),
        "infinity": ("return [[float('inf'), 2.0, 3.0, 4.0]]", "1 boxes, 1 scores and 1 labels"),
    },
    "serve(Detector)": {
        "a package that is not there": ("import detectron3", "No module named 'detectron3'"),
        "another version": ("from serve import require; require('json', module_with_a_version, '2.')", "json 1.2.3 is"),
        "nonsense": ("print('hello')", "'hello', which is not JSON"),
        "a list": ("print([1])", "[1], which is not an object"),
    },
}
CASES = [(name, line, *bad) for line, cases in BAD.items() for name, bad in cases.items()]


@pytest.mark.parametrize(("line", "replacement", "sentence"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
def test_whatever_a_peer_does_its_row_says_so_and_ours_is_measured(compared, script, line, replacement, sentence):
    ours, *others = compared(script.read_text().replace(line, replacement), 1.0 if "sleep" in replacement else 60.0)
    assert ours.ok and ours.metrics["fps"] > 0 and len(ours.samples["latency_s"]) == 2
    peer = next(record for record in others if record.parameters["peer"] == "detectron2")
    assert peer.status == "failed" and sentence in peer.reason and "\n" not in peer.reason
    assert peer.parameters["published"]["fps"] > 0


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


def test_a_peer_without_these_layers_is_not_measured(tmp_path):
    with torch.device("meta"):
        network = zoo.build("atss_r50_fpn_1x_coco")
    with pytest.raises(PeerError, match="cannot have the same weights, since Detectron2 has no parameter for"):
        contestants.peers_weights(network, "detectron2", tmp_path)


def test_random_weights_are_the_same_everywhere_and_find_something():
    states = []
    for _ in range(2):
        network = two_stage.build("mask_rcnn_r50_fpn_groie_1x_coco")
        network.preprocess = zoo.preprocessor("mask_rcnn_r50_fpn_1x_coco")
        randomize(network)
        states.append(network.state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    with torch.inference_mode():
        (result,) = network(torch.randn(1, 3, 128, 192))
    assert len(result) > 5 and result.labels.unique().numel() > 1


TRAINER = """
import sys
sys.path.insert(0, {workers!r})
import torch
from serve import serve
import json as module_with_a_version
module_with_a_version.__version__ = "1.2.3"

class Detector:
    implementation, module = "peer", module_with_a_version
    def __init__(self, request):
        self.model = torch.nn.Linear(3, 1)
    def train(self, batch, take_all):
        assert take_all
        return {losses}
    def step(self):
        {step}
        return 1.0

serve(Detector)
"""


@pytest.fixture
def trained(monkeypatch, tmp_path):
    """Compares the training of a stand-in for ours with that of one for Detectron2."""
    from benchmarks.speed import compare_training

    workers = str(Path(external.__file__).parent / "workers")
    monkeypatch.setattr(external, "WORKERS", tmp_path)
    monkeypatch.setattr(compare_training, "WORKERS", tmp_path)
    monkeypatch.setattr(compare_training, "network", lambda request: (stub(), "random, the same"))
    monkeypatch.setattr(compare_training, "peers_weights", lambda model, peer, folder: folder / "none")

    def run(losses: str, step: str = "pass"):
        own = TRAINER.format(workers=workers, losses="{'loss_rpn_bbox': 0.5, 'loss_cls': 8.0}", step="pass")
        (tmp_path / "own_worker.py").write_text(own)
        (tmp_path / "detectron2_worker.py").write_text(TRAINER.format(workers=workers, losses=losses, step=step))
        request = compare_training.TrainingComparison(
            "detectron2/faster_rcnn_R_50_FPN_1x", ["detectron2"], {"detectron2": sys.executable}, iterations=3
        )
        return compare_training.run(request)

    return run


def test_trainings_with_equal_losses_have_a_ratio(trained):
    ours, peer = trained("{'loss_rpn_loc': 0.5002, 'loss_cls': 8.001}")
    assert peer.ok and peer.parameters["same_work"] and peer.metrics["speedup"] > 0
    assert peer.metrics["losses"] == {"loss_rpn_bbox": 0.5002, "loss_cls": 8.001}
    assert len(ours.samples["iteration_s"]) == len(peer.samples["iteration_s"]) == 3
    assert peer.metrics["images_per_second"] == pytest.approx(2 / peer.metrics["iteration_s"])
    assert ours.metrics["resident_peak_mib"] > 1
    assert len(peer.samples["cpu_s"]) == 3 and peer.metrics["cpu_s"] > 0 and peer.metrics["cpu_speedup"] > 0


def test_losses_of_detectron2s_cascades_have_our_names():
    stages = {f"loss_{part}_stage{i}": float(i) for part in ("cls", "box_reg") for i in range(3)}
    renamed = in_our_names({**stages, "loss_mask": 3.0, "loss_rpn_cls": 4.0})
    wanted = {f"s{i}.loss_{part}": float(i) for part in ("cls", "bbox") for i in range(3)}
    assert renamed == {**wanted, "s0.loss_mask": 3.0, "loss_rpn_cls": 4.0}
    assert in_our_names({"loss_cls": 1.0, "loss_mask": 3.0}) == {"loss_cls": 1.0, "loss_mask": 3.0}


def test_training_on_smaller_images_stands_for_no_published_size(tmp_path):
    name = "torchvision/retinanet_resnet50_fpn"
    batch = training_batch.read(training_batch.write(tmp_path / "batch.npz", name, 1, 96), name)
    assert min(batch.sizes[0]) == 96
    record = Record(name, "compare training", parameters={"peer": None, "shorter_side": 96})
    assert not selection.is_plain(record)


@pytest.mark.parametrize(
    ("losses", "sentence"),
    [
        ("{'loss_rpn_loc': 0.6, 'loss_cls': 8.0}", "loss_rpn_bbox of the first step is 0.6000 instead of 0.5000"),
        ("{'loss_cls': 8.0}", "losses loss_cls instead of loss_cls, loss_rpn_bbox"),
        ("{'loss_rpn_loc': float('nan'), 'loss_cls': 8.0}", "loss_rpn_bbox of the first step is nan"),
    ],
)
def test_trainings_with_other_losses_have_none(trained, losses, sentence):
    _, peer = trained(losses)
    assert peer.ok and "speedup" not in peer.metrics
    assert peer.parameters["remark"].startswith("not the same work") and sentence in peer.parameters["remark"]


def test_a_peer_that_fails_in_training_leaves_ours(trained):
    ours, peer = trained("{'loss_rpn_loc': 0.5, 'loss_cls': 8.0}", "sys.exit('out of memory')")
    assert ours.ok and len(ours.samples["iteration_s"]) == 3
    assert peer.status == "failed" and "ended: out of memory" in peer.reason


def test_a_network_that_learns_from_images_without_annotations_is_not_trained():
    with pytest.raises(UsageError, match="images without annotations"):
        check_supervision("soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco")
    check_supervision("detectron2/mask_rcnn_R_50_FPN_1x")


@pytest.mark.parametrize(
    ("name", "key", "shape"),
    [
        ("detectron2/panoptic_fpn_R_50_3x", "semantic", (128, 128)),
        ("panoptic_fpn_r50_fpn_1x_coco", "semantic", (32, 32)),  # MMDetection rescales maps by 1/4
        ("htc_r50_fpn_1x_coco", "semantic", (128, 128)),
        ("detectron2/keypoint_rcnn_R_50_FPN_1x", "keypoints", (7, 17, 3)),
        ("fast_rcnn_r50_fpn_1x_coco", "proposals", (2000, 4)),
    ],
)
def test_a_batch_has_all_that_a_network_learns_from(tmp_path, name, key, shape):
    batch = training_batch.read(training_batch.write(tmp_path / "batch.npz", name, 2, 96), name)
    assert batch.images.shape == (2, 3, 128, 128)  # one is higher, the other wider
    assert [tuple(target[key].shape) for target in batch.targets] == [shape, shape]


class Seesaw(torch.nn.Module):
    """A loss with a `p` that is no probability of leaving something out."""

    def __init__(self):
        super().__init__()
        self.p = 0.8


def test_first_losses_are_computed_without_dropout(monkeypatch):
    monkeypatch.syspath_prepend(external.WORKERS)
    serve = import_module("serve")
    dropout, attention, loss = torch.nn.Dropout(0.5), torch.nn.MultiheadAttention(4, 1, 0.3), Seesaw()
    depth = StochasticDepth(0.2)
    model = torch.nn.ModuleList([dropout, attention, loss, depth])
    with serve.nothing_dropped(model):
        assert (dropout.p, attention.dropout, loss.p, depth.p) == (0, 0, 0.8, 0)
        assert torch.equal(dropout(torch.ones(64)), torch.ones(64))
    assert (dropout.p, attention.dropout, loss.p, depth.p) == (0.5, 0.3, 0.8, 0.2)
    with serve.nothing_dropped(model, wanted=False):
        assert dropout.p == 0.5


@pytest.mark.parametrize(
    ("name", "size", "word"),
    [("ssd300_coco", 200, "one size"), ("yolox_s_8x8_300e_coco", 200, "multiple of 32")],
)
def test_a_size_that_a_network_cannot_take_is_rejected(tmp_path, name, size, word):
    with pytest.raises(UsageError, match=word):
        training_batch.write(tmp_path / "batch.npz", name, 1, size)
