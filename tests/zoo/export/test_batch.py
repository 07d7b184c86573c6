"""A graph of several images detects in each what it detects in it alone, and what its network detects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zoo
from tests.zoo.export.test_export import MASK_RCNN, network
from tests.zoo.export.test_export_families import NETWORKS, dense, padded
from tests.zoo.export.test_files import ORIGIN, images
from zoo.cli.main import main
from zoo.export import batch_graph, export, files, runtimes
from zoo.export.difference import difference, of_batch
from zoo.export.formats import FORMATS
from zoo.export.graph_outputs import ExportError

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

DENSE = ("tood_r50_fpn_1x_coco", "gfl_r50_fpn_1x_coco", "fcos_r50_caffe_fpn_gn-head_1x_coco")
QUERIES = ("DETR", "Deformable DETR, two stages", "DINO", "MaskFormer, plain")
SAMPLES = [padded(128, 192, 1), padded(160, 128, 2), padded(160, 192, 3)]


def of(name: str) -> Any:
    """A small network of a family."""
    return (NETWORKS[name]() if name in NETWORKS else dense(name)).eval()


@pytest.mark.parametrize("name", [*DENSE, *QUERIES])
def test_eight_images_at_once_have_the_detections_of_each_alone(name: str, tmp_path: Path) -> None:
    model = of(name)
    names = batch_graph.output_names(model, padded(128, 160, 0).image)
    path = export.to_onnx(model, tmp_path / "m.onnx", padded(128, 160, 0), free_batch=True)
    graph = runtimes.OnnxDetector(path, model).batched(names)
    own, several = difference(model, graph, SAMPLES), of_batch(graph, SAMPLES, 8)
    assert graph.shape == [None, 3, None, None]
    assert own.detections > 5 or own.panoptic is not None
    assert own.matched == several.matched == 1.0 and own.score < 1e-4 and several.score < 1e-5
    assert several.panoptic is None or several.panoptic > 0.99


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_of_several_images_says_so_and_runs_them_at_once(suffix: str, tmp_path: Path) -> None:
    if suffix == ".xml":
        pytest.importorskip("openvino", reason="openvino is not installed")
    model = zoo.load("demo_atss")
    sample = model.preprocess(images()[0])  # type: ignore[misc]
    file = files.write(model, tmp_path / f"m{suffix}", sample, ORIGIN, free_batch=True)
    assert file.to_record()["free_batch"] is True and file.facts.outputs[0] == "map_0_0"
    detector = runtimes.open_file(file.path)
    samples = [model.preprocess(image) for image in images()]  # type: ignore[misc]
    own, several = difference(model, detector, samples), of_batch(detector, samples, 8)
    assert own.detections > 5 and own.matched == several.matched == 1.0 and own.score < 1e-3
    calls: list[int] = []
    run = detector.outputs
    detector.outputs = lambda image, size: calls.append(len(image)) or run(image, size)  # type: ignore[method-assign, func-returns-value]
    of_batch(detector, samples[:1], 8)
    assert calls[-1] == 8


def test_regions_differ_in_number_so_two_stage_networks_take_one_image(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="has no graph of several images: what it finds in each"):
        export.to_onnx(network(MASK_RCNN), tmp_path / "m.onnx", padded(128, 160, 0), free_batch=True)
    assert not list(tmp_path.iterdir())


def test_the_command_says_how_eight_images_agree_with_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import cv2

    paths = [str(tmp_path / f"{number}.png") for number in range(2)]
    for path, image in zip(paths, images()):
        cv2.imwrite(path, np.ascontiguousarray(image))
    file = tmp_path / "m.onnx"
    assert main(["export", "demo_atss", "--onnx", str(file), "--dynamic-batch", "--images", *paths]) == 0
    assert "8 images at once: 100.0% of" in capsys.readouterr().out


def test_heads_stay_in_float_in_every_family_and_quantized_layers_are_of_backbone_and_neck(tmp_path: Path) -> None:
    import onnx

    from zoo.export.quantize import BODY, quantizable

    for name in ("DETR", "MaskFormer, plain", "faster_rcnn_r50_fpn_1x_coco", "yolox_nano_8x8_300e_coco"):
        model = zoo.build(name) if "yolox" in name else of(name)
        graph = onnx.load(export.to_onnx(model, tmp_path / "m.onnx", padded(128, 160, 0))).graph
        chosen = quantizable(graph)
        scopes = {node.name.split("/")[1] for node in graph.node if node.op_type == "Conv"}
        assert chosen and all(layer.startswith(BODY) for layer in chosen)
        assert scopes <= {"backbone", "neck", "bbox_head", "rpn_head", "roi_head", "panoptic_head"}
