"""`zoo detect` from the command line, with a detector without a network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pycocotools import mask as coco_mask
from torch import Tensor, nn

import zoo
from tests.benchmarks.stubs import ColorDetector
from zoo.cli import main
from zoo.cli.detection import inputs
from zoo.cli.detection.inputs import Source
from zoo.coco_format.results import category_ids
from zoo.structures import Detections, ImageGeometry

VAL = Path(__file__).parents[3] / "data" / "coco" / "val2017"


class Stub(ColorDetector):
    """Has a parameter, whose device is the detector's."""

    def __init__(self) -> None:
        super().__init__()
        self.home = nn.Parameter(torch.zeros(1))


@pytest.fixture(autouse=True)
def stub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo, "load", lambda *_: Stub())


def test_a_folder_gives_coco_results_and_drawings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out" / "deep"
    assert main.main(["detect", "yolox_tiny", str(VAL), "--out", str(out), "--json", "--score-thr", "0.01"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["image_id"] for row in rows} == {1, 2, 4}
    assert {(row["category"], row["category_id"]) for row in rows} == {("person", 1), ("bicycle", 2), ("car", 3)}
    assert all(len(row["bbox"]) == 4 and row["segmentation"]["counts"] for row in rows)
    assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in VAL.iterdir())


class Panoptic(Stub):
    """Makes a panoptic map of the rectangles; the rest of the image is void."""

    def find(self, image: Tensor, geometry: ImageGeometry) -> Detections:
        result = super().find(image, geometry)
        panoptic = torch.full(geometry.output_size, len(self.classes))
        for number, (mask, label) in enumerate(zip(result.masks, result.labels)):  # type: ignore[arg-type]
            panoptic[mask] = label + 1000 * number
        return replace(Detections.empty(image), panoptic=panoptic)


def test_a_panoptic_map_gives_a_row_for_each_segment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    image = str(VAL / "000001.jpg")
    assert main.main(["detect", "yolox_tiny", image, "--json", "--score-thr", "0"]) == 0
    boxes = json.loads(capsys.readouterr().out)
    monkeypatch.setattr(zoo, "load", lambda *_: Panoptic())
    assert main.main(["detect", "yolox_tiny", image, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert sorted(row["category"] for row in rows) == sorted(row["category"] for row in boxes)
    assert all(row["area"] == coco_mask.area(row["segmentation"]) and row["category_id"] in (1, 2, 3) for row in rows)
    assert "score" not in rows[0]
    assert main.main(["detect", "yolox_tiny", image]) == 0
    assert capsys.readouterr().out.count("\t-\t") == len(rows)


def test_labels_without_a_name_are_numbers(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(Stub, "classes", ("person",))
    assert main.main(["detect", "yolox_tiny", str(VAL), "--json", "--score-thr", "0"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {(row["category"], row["category_id"]) for row in rows} == {("person", 1), ("1", 2), ("2", 3)}


def test_bad_images_are_reported_and_the_rest_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    good = str(VAL / "000001.jpg")
    status = main.main(["detect", "yolox_tiny", str(tmp_path / "broken.jpg"), "missing.jpg", good, "--score-thr", "0"])
    captured = capsys.readouterr()
    assert status == 1
    assert "broken.jpg: does not decode" in captured.err
    assert "missing.jpg: there is no such file" in captured.err
    assert captured.out.count(good) == 2


def test_the_threshold_holds_for_results_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["detect", "yolox_tiny", str(VAL), "--json", "--score-thr", "0.99"]) == 0
    assert json.loads(capsys.readouterr().out) == []


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["nothing.pth"], 1, "nothing.pth does not exist"),
        (["yolox_tiny", "--device", "warp"], 2, "device 'warp' cannot be used"),
    ],
)
def test_bad_requests_are_one_sentence(
    arguments: list[str], status: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["detect", *arguments[:1], str(VAL), *arguments[1:]]) == status
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert captured.err.count("\n") == 1


def test_patterns_are_expanded_where_no_shell_did_it() -> None:
    assert [one.path.name for one in inputs.find(str(VAL / "00000[12].jpg"))] == ["000001.jpg", "000002.jpg"]


def test_drawings_of_equal_names_do_not_overwrite_each_other() -> None:
    sources = [Source(Path(name)) for name in ("a/x.jpg", "b/x.jpg", "c/x.tif")]
    assert list(inputs.output_names(sources).values()) == ["x.jpg", "x_2.jpg", "x.png"]


def test_cocos_classes_have_cocos_numbers() -> None:
    from zoo.manifest.api import dataset

    ids = category_ids(dataset("coco_2017").classes)
    assert len(ids) == 80
    assert (ids[0], ids[11], ids[79]) == (1, 13, 90)
    panoptic = dataset("coco_2017_panoptic")
    ids = dict(zip(panoptic.stuff_classes, category_ids(panoptic.classes + panoptic.stuff_classes)[80:]))
    assert (ids["banner"], ids["window-other"], ids["rug-merged"]) == (92, 181, 200)
