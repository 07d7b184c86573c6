"""Exported files say themselves what they are, and nothing else is needed to run them."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import zipfile
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import zoo
from zoo.errors import UnsafeCheckpoint, UsageError, ZooError
from zoo.export import artifact, extras, files, program_guard, runtimes
from zoo.export.difference import difference
from zoo.export.formats import FORMATS, runtime_of
from zoo.manifest import api
from zoo.preprocessing.plain import from_plain, to_plain

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

ORIGIN = files.Origin("demo_mask_rcnn", "published", "0" * 64)


def images(count: int = 3) -> list[np.ndarray]:
    """Images of two sizes, with rectangles."""
    random, result = np.random.default_rng(0), []
    for number in range(count):
        image = random.integers(0, 60, (120, 160, 3) if number % 2 else (160, 120, 3), dtype=np.uint8)
        for _ in range(6):
            top, left = random.integers(0, 80, 2)
            image[top : top + 40, left : left + 30] = random.integers(60, 256, 3)
        result.append(image)
    return result


@pytest.fixture(scope="module")
def network() -> Any:
    return zoo.load("demo_mask_rcnn")


def written(network: Any, folder: Path, suffix: str, **options: Any) -> artifact.Artifact:
    """The network as a file."""
    if suffix == ".xml":
        pytest.importorskip("openvino", reason="openvino is not installed")
    return files.write(network, folder / f"m{suffix}", network.preprocess(images()[0]), ORIGIN, **options)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_alone_detects_what_its_network_detects(suffix: str, network: Any, tmp_path: Path) -> None:
    file = written(network, tmp_path, suffix)
    detector = runtimes.open_file(file.path)
    result = difference(network, detector, [network.preprocess(image) for image in images()])
    assert result.detections > 5 and result.matched == 1.0 and result.score < 1e-3
    assert result.mask is not None and result.mask > 0.99
    assert list(detector.classes or ()) == list(network.classes) and detector.label_count == network.label_count
    (want,), (have,) = network.detect(images()[:1]), detector.detect(images()[:1])
    assert have.masks is not None and have.masks.shape == want.masks.shape
    assert torch.allclose(have.boxes, want.boxes, atol=0.1)
    assert all(parameter.is_meta for parameter in detector.original.parameters())  # no weights beside the file's


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_holds_what_its_measurement_needs(suffix: str, network: Any, tmp_path: Path) -> None:
    facts = artifact.read(written(network, tmp_path, suffix).path).facts
    assert (facts.model, facts.weights, facts.source) == ("demo_mask_rcnn", "published", "0" * 64)
    assert facts.tasks == list(api.get("demo_mask_rcnn").tasks) and facts.dataset == "demo"
    assert from_plain(facts.preprocessing) == api.preprocessing("demo_mask_rcnn")
    assert facts.description["test_cfg"]["rcnn"]["mask_thr_binary"] == 0.5
    assert facts.parameters == sum(p.numel() for p in network.parameters()) and facts.flops > 0


def test_the_sha256_is_that_of_the_file_and_of_openvinos_two(network: Any, tmp_path: Path) -> None:
    file = written(network, tmp_path, ".onnx")
    assert (file.sha256, file.bytes) == (sha256(file.path.read_bytes()).hexdigest(), file.path.stat().st_size)
    file = written(network, tmp_path, ".xml")
    content = file.path.read_bytes() + file.path.with_suffix(".bin").read_bytes()
    assert (file.sha256, file.bytes) == (sha256(content).hexdigest(), len(content))


def test_a_foreign_onnx_file_is_refused_with_what_is_missing(network: Any, tmp_path: Path) -> None:
    path = written(network, tmp_path, ".onnx").path
    graph = onnx.load(path)
    facts = json.loads(graph.metadata_props[0].value)
    for told, sentence in (
        (None, "no 'detection-zoo' with preprocessing, classes and outputs"),
        ("{", "no JSON"),
        (json.dumps({**facts, "schema": 99}), "version 99 of this format"),
        (json.dumps({k: v for k, v in facts.items() if k not in ("classes", "outputs")}), "classes, outputs"),
        (json.dumps({**facts, "preprocessing": {}}), "preprocessing is incomplete"),
        (json.dumps({**facts, "description": {"type": "NoDetector"}}), "makes none"),
    ):
        onnx.helper.set_model_props(graph, {} if told is None else {artifact.KEY: told})
        onnx.save(graph, path)
        with pytest.raises(UsageError, match=re.escape(sentence)):
            runtimes.open_file(path)


def test_a_file_that_changed_since_its_export_is_refused(network: Any, tmp_path: Path) -> None:
    path = written(network, tmp_path, ".pt2").path
    with path.open("ab") as file:
        file.write(b"more")
    with pytest.raises(ZooError, match="export it anew"):
        runtimes.open_file(path)
    artifact.beside_path(path).unlink()
    with pytest.raises(UsageError, match=r"there is no .*m\.pt2\.json"):
        runtimes.open_file(path)


def test_openvinos_weights_must_be_there(network: Any, tmp_path: Path) -> None:
    path = written(network, tmp_path, ".xml").path
    path.with_suffix(".bin").unlink()
    with pytest.raises(ZooError, match=r"m\.bin does not exist; m\.xml has its weights there"):
        runtimes.open_file(path)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_an_onnx_file_is_run_by_either_runtime(runtime: str, network: Any, tmp_path: Path) -> None:
    pytest.importorskip(runtime, reason=f"{runtime} is not installed")
    detector = runtimes.open_file(written(network, tmp_path, ".onnx").path, runtime, threads=1)
    assert detector.runtime == runtime and re.match(r"\d+\.\d+", detector.runtime_version)
    samples = [network.preprocess(image) for image in images()]
    assert difference(network, detector, samples).matched == 1.0


def test_a_runtime_that_cannot_run_a_format_is_said() -> None:
    with pytest.raises(UsageError, match=r"m\.pt2 is run by torch: give --runtime torch"):
        runtime_of(Path("m.pt2"), "openvino")


def test_a_missing_runtime_is_said_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    with pytest.raises(UsageError, match="openvino is not installed; it is of the extra 'openvino'"):
        extras.extra("openvino")


def test_eight_bits_are_fewer_bytes_and_heads_predict_in_float(network: Any, tmp_path: Path) -> None:
    samples = [network.preprocess(image) for image in images(4)]
    plain = written(network, tmp_path, ".onnx")
    file = files.write(network, tmp_path / "int8.onnx", samples[0], ORIGIN, "int8", samples)
    assert file.bytes < 0.45 * plain.bytes
    assert file.facts.precision == "int8" and file.facts.quantization["calibration_images"] == 4
    graph = onnx.load(file.path).graph
    weights = {entry.name for entry in graph.initializer if entry.data_type == onnx.TensorProto.FLOAT and entry.dims}
    in_float = [node for node in graph.node if node.op_type in ("Conv", "Gemm", "MatMul") and node.input[1] in weights]
    assert len(in_float) >= 4  # objectness, anchors' deltas, classes, boxes
    assert difference(network, runtimes.open_file(file.path), samples).detections > 5


def test_half_precision_halves_openvinos_weights(network: Any, tmp_path: Path) -> None:
    sizes = []
    for precision in ("fp32", "fp16"):
        file = written(network, tmp_path, ".xml", precision=precision)
        sizes.append(file.path.with_suffix(".bin").stat().st_size)
        assert file.facts.precision == precision
    assert sizes[1] < 0.6 * sizes[0]


@pytest.mark.parametrize(
    "suffix, precision, sentence",
    [(".onnx", "fp16", "fp16 is for OpenVINO"), (".pt2", "int8", "int8 is for ONNX"), (".onnx", "int8", "calibrate")],
)
def test_what_a_format_does_not_have_is_said_and_leaves_nothing(
    suffix: str, precision: str, sentence: str, network: Any, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=sentence):
        written(network, tmp_path, suffix, precision=precision)
    assert list(tmp_path.iterdir()) == []


def test_every_recipe_of_the_zoo_survives_as_plain_data() -> None:
    for name in zoo.list_models():
        recipe = api.preprocessing(name)
        assert from_plain(json.loads(json.dumps(to_plain(recipe)))) == recipe


@pytest.fixture(scope="module")
def program(network: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(network, tmp_path_factory.mktemp("program"), ".pt2").path


def changed(path: Path, target: Path, member: str, change: Any) -> Path:
    """A copy of a program with one member changed, or added."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        names = [name for name in old.namelist() if not name.endswith(member)]
        for name in names:
            new.writestr(name, old.read(name))
        given = next((name for name in old.namelist() if name.endswith(member)), f"{names[0].split('/')[0]}/{member}")
        new.writestr(given, change(old.read(given) if given in old.namelist() else b""))
    return target


def with_target(text: bytes) -> bytes:
    """A program whose first operator is a function that is none."""
    data = json.loads(text)
    data["graph_module"]["graph"]["nodes"][0]["target"] = "torch.os.system"
    return json.dumps(data).encode()


def with_expression(text: bytes) -> bytes:
    """A program with Python where a size should be."""
    data = json.loads(text)
    data["graph_module"]["graph"]["sym_int_values"]["s"] = {"as_expr": {"expr_str": "__import__('os').getcwd()"}}
    return json.dumps(data).encode()


def with_pickle(text: bytes) -> bytes:
    """A configuration that wants a tensor unpickled."""
    data = json.loads(text)
    next(iter(data["config"].values()))["use_pickle"] = True
    return json.dumps(data).encode()


@pytest.mark.parametrize(
    "member, change, sentence",
    [
        ("models/model.json", with_target, "operator 'torch.os.system'"),
        ("models/model.json", with_expression, "expression"),
        ("model_weights_config.json", with_pickle, "is a pickle"),
        ("data/sample_inputs/model.pt", lambda _: pickle.dumps(Path("x"), 2), "sample inputs hold more than tensors"),
        ("data/aotinductor/model/model.so", lambda _: b"", "member 'data/aotinductor/model/model.so'"),
        ("data/constants/custom_obj_0", lambda _: b"", "member 'data/constants/custom_obj_0'"),
    ],
    ids=["function", "expression", "pickled tensor", "pickled inputs", "library", "object"],
)
def test_a_program_that_could_run_something_is_not_read(
    member: str, change: Any, sentence: str, program: Path, tmp_path: Path
) -> None:
    with pytest.raises(UnsafeCheckpoint, match=sentence):
        program_guard.load(changed(program, tmp_path / "m.pt2", member, change))


def test_a_program_of_this_project_passes_the_guard(program: Path) -> None:
    assert program_guard.load(program).graph_signature.user_inputs


def test_an_origin_without_a_name_of_the_zoo_has_no_dataset(network: Any, tmp_path: Path) -> None:
    origin = replace(ORIGIN, name="my_finetuned", weights="my_finetuned.pth")
    file = files.write(network, tmp_path / "m.onnx", network.preprocess(images()[0]), origin)
    assert (file.facts.dataset, file.facts.tasks) == (None, None)
    moved = Path(shutil.move(file.path, tmp_path / "elsewhere.onnx"))
    assert runtimes.open_file(moved).artifact is not None
