"""Help, usage errors and the commands that only read files answer without importing torch."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.cli.main import COMMANDS as BENCH
from benchmarks.results.record import Record
from benchmarks.results.store import Store
from zoo.cli.main import COMMANDS as ZOO

HELP = [
    *(("zoo", name, "--help") for name in ZOO),
    *(("bench", name, "--help") for name in BENCH),
    ("zoo", "--help"),
    ("bench", "--help"),
    ("zoo", "--version"),
    ("bench", "--version"),
    *(("zoo", "completion", shell) for shell in ("bash", "zsh", "fish", "names")),
    *(("bench", "completion", shell) for shell in ("bash", "zsh", "fish", "names")),
    ("bench", "datasets"),
    ("bench", "datasets", "voc_0712", "--json"),
    ("bench", "parity", "--list"),
    ("zoo", "list"),
    ("zoo", "show", "retinanet_r50"),
]

# Arguments -> exit status and a part of the one sentence on stderr.
ERRORS: list[tuple[tuple[str, ...], int, str]] = [
    (("zoo", "lst"), 2, "Nearest: list."),
    (("bench", "infrence"), 2, "Nearest: inference."),
    (("zoo", "list", "--famly", "retinanet"), 2, "Nearest: --family"),
    (("zoo", "cache", "verfy"), 2, "Nearest: verify."),
    (("bench", "results", "lst"), 2, "Nearest: list."),
    (("zoo",), 2, "required: COMMAND"),
    (("zoo", "list", "--min", "much"), 2, "--min"),
    (("zoo", "build", "retinanet_r51_fpn"), 2, "Nearest:"),
    (("zoo", "detect", "no_such_model", "x.jpg"), 2, "no model 'no_such_model'"),
    (("zoo", "detect", "nothing.pth", "x.jpg"), 1, "nothing.pth does not exist"),
    (("zoo", "export", "no_such_model", "--onnx", "x.onnx", "--images", "x.jpg"), 2, "no model 'no_such_model'"),
    (("zoo", "export", "retinanet_r50", "--onnx", "x.onnx", "--images", "x.jpg"), 1, "x.jpg"),
    (("zoo", "train", "no_such_model", "--out", "x", "--data", "x"), 2, "no_such_model"),
    (("zoo", "train", "retinanet_r50", "--out", "x", "--data", "/nope"), 1, "/nope"),
    (("zoo", "train", "retinanet_r50", "--out", "x"), 2, "--data"),
    (("zoo", "convert", "nothing.pth", "x.safetensors"), 1, "nothing.pth"),
    (("bench", "accuracy"), 2, "what to evaluate"),
    (("bench", "accuracy", "--predictions", "nothing.json"), 1, "nothing.json"),
    (("bench", "accuracy", "no_such_model"), 2, "no model 'no_such_model'"),
    (("bench", "accuracy", "retinanet_r50", "--data", "/nope"), 1, "/nope is not a folder"),
    (("bench", "accuracy", "retinanet_r50", "--dataset", "coco_2071"), 2, "Nearest: coco_2017"),
    (("bench", "accuracy", "retinanet_r50", "--measure", "boxes"), 2, "boxes"),
    (("bench", "accuracy", "nothing.pth"), 1, "nothing.pth does not exist"),
    (("bench", "accuracy", "retinanet_r50", "--results", "/nope/results.db"), 1, "/nope is not a folder"),
    (("bench", "inference", "no_such_model"), 2, "no_such_model"),
    (("bench", "inference", "retinanet_r50", "--protocol", "mmdet-v3"), 2, "mmdet-v2"),
    (("bench", "inference", "retinanet_r50", "--set", "iterations=3"), 2, "iterations"),
    (("bench", "inference", "retinanet_r50", "--images", "/nope"), 2, "/nope"),
    (("bench", "inference", "--checkpoint", "nothing.pth"), 2, "nothing.pth"),
    (("bench", "compare", "retinanet_r50", "--against", "yolo"), 2, "yolo"),
    (("bench", "compare", "no_such_model"), 2, "no_such_model"),
    (("bench", "training", "no_such_model"), 2, "no_such_model"),
    (("bench", "training", "retinanet_r50", "--data", "/nope"), 1, "/nope"),
    (("bench", "training", "retinanet_r50", "--set", "iterations=many"), 2, "iterations"),
    (("bench", "parity", "no_such_model"), 2, "no_such_model"),
    (("bench", "parity"), 2, "--family"),
    (("bench", "datasets", "coco_2071"), 2, "coco_2017"),
    (("bench", "datasets", "coco_2017", "--check", "/nope"), 1, ""),
    (("bench", "report", "--results", "nothing.db"), 2, "no records"),
    (("bench", "results", "show", "0123", "--results", "nothing.db"), 1, "0123"),
    (("bench", "check", "nothing.json"), 2, "nothing.json"),
    (("bench", "baseline", "x.json", "--results", "nothing.db"), 2, "nothing.db"),
    (("bench", "sweep", "inference"), 2, "--all"),
    (("bench", "sweep", "infrence", "retinanet_r50"), 2, "inference"),
]

OWN = """
schema: 1
family: mine
models:
  mine_r50:
    architecture: retinanet_r50_caffe_fpn_1x_coco
    checkpoint: {file: mine.pth}
    dataset: coco_2017
    tasks: [object detection]
    normalization: torchvision
    preprocessing: resize_1333x800_pad32
"""

# Runs commands one after the other in one process and tells of each how it ended and whether torch is there.
RUN = """
import contextlib, io, json, sys
from benchmarks.cli.main import main as bench
from zoo.cli.main import main as zoo
for words in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = {"zoo": zoo, "bench": bench}[words[0]](words[1:])
        except SystemExit as stop:
            status = stop.code
    print(json.dumps([words, status, out.getvalue(), err.getvalue(), "torch" in sys.modules]), flush=True)
"""


def run(commands: list[tuple[str, ...]], folder: Path, *flags: str) -> tuple[list[list], str]:
    """Of each command: words, exit status, stdout, stderr, whether torch was imported. And stderr of the process."""
    words = [sys.executable, *flags, "-c", RUN, json.dumps(commands)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=folder, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_help_and_listings_do_not_import_torch(tmp_path: Path) -> None:
    ended, times = run(HELP, tmp_path, "-X", "importtime")
    assert [words for words, *_, torch in ended if torch] == []
    assert [words for words, status, *_ in ended if status] == []
    assert "| torch" not in times and "zoo.cli.framework" in times  # the table of imports was there, and torch was not


def test_help_and_the_first_checks_do_not_import_numpy(tmp_path: Path) -> None:
    helps = [words for words in HELP if words[-1] == "--help"]
    errors = [("bench", "accuracy"), ("bench", "accuracy", "retinanet_r50", "--data", "/nope")]
    _, times = run([*helps, *errors], tmp_path, "-X", "importtime")
    assert not re.search(r"\| +numpy$", times, re.MULTILINE) and "benchmarks.accuracy.accuracy" in times


def test_usage_errors_are_one_sentence_and_do_not_import_torch(tmp_path: Path) -> None:
    ended, _ = run([words for words, *_ in ERRORS], tmp_path)
    for (words, status, part), (_, code, _, said, torch) in zip(ERRORS, ended, strict=True):
        assert (code, torch) == (status, False), (words, code, said)
        assert part in said and said.count("\n") <= 1 and "Traceback" not in said, (words, said)


def test_checks_baselines_and_reports_do_not_import_torch(tmp_path: Path) -> None:
    store = Store(tmp_path / "results.db")
    detections = [0.0, 1.0, 0.9, 0.0, 0.0, 10.0, 10.0]
    for _ in range(2):
        samples = {"latency_s": [0.1, 0.2], "calibration_s": [0.1, 0.1], "detections": detections}
        metrics = {"parameters": 7, "fps": 3.0, "latency_ms_p50": 4.0}
        store.append(Record(model="retinanet_r50_fpn_1x_coco", kind="inference", metrics=metrics, samples=samples))
    commands = [
        ("bench", "baseline", "base.json"),
        ("bench", "check", "base.json"),
        ("bench", "results", "list"),
        ("bench", "report"),
        ("bench", "report", "--csv"),
        ("bench", "report", "--json"),
        ("bench", "report", "--zoo"),
    ]
    ended, _ = run(commands, tmp_path)
    assert [(words, said) for words, status, _, said, torch in ended if status or torch] == []


@pytest.mark.parametrize(
    "arguments", [("--manifest", "own.yaml", "list", "mine*"), ("list", "mine*", "--manifest", "own.yaml")]
)
def test_a_manifest_is_read_before_and_behind_the_command(arguments: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(OWN)
    ((_, status, out, said, _),), _ = run([("zoo", *arguments)], tmp_path)
    assert status == 0 and "\nmine_r50" in out, said
