"""`bench accuracy` with a network: a folder as tools leave it gives the clean folder's numbers, or a sentence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch

import zoo
from benchmarks.accuracy import accuracy, measure
from benchmarks.accuracy.config import EvalConfig
from benchmarks.cli import main
from benchmarks.datasets import demo
from zoo.checkpoint.config import mmdet_config
from zoo.errors import ZooError
from zoo.structures import Detections

NAME, IMAGES = "demo_yolox", 8
FILE = "annotations/instances_val.json"
Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return demo.write(tmp_path_factory.mktemp("demo"), {"val": IMAGES})


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    monkeypatch.setenv("ZOO_RESULTS", str(tmp_path / "results.db"))


def changed(clean: Path, root: Path, change: Change) -> Path:
    """A copy of the folder with another annotation file."""
    shutil.copytree(clean, root / "data")
    document = json.loads((clean / FILE).read_text())
    change(document)
    (root / "data" / FILE).write_text(json.dumps(document))
    return root / "data"


def evaluate(data: Path, name: str = NAME, **options: Any) -> Any:
    """The record of the demonstration's network."""
    record = accuracy.evaluate(name, EvalConfig(data=data, dataset="demo", **options), progress=False)
    assert record is not None
    return record


def renumbered(document: dict[str, Any]) -> None:
    """Text and 64-bit ids, categories in another order behind a root, no sizes."""
    document["categories"].reverse()
    categories = {row["id"]: f"c{row['id']}" for row in document["categories"]}
    images = {row["id"]: 2**60 + 7 * row["id"] for row in document["images"]}
    for row in document["categories"]:
        row["id"] = categories[row["id"]]
    for number, row in enumerate(document["annotations"]):
        row |= {"id": number, "image_id": images[row["image_id"]], "category_id": categories[row["category_id"]]}
    for row in document["images"]:
        row["id"] = images[row["id"]]
        del row["width"], row["height"]
    document["categories"].insert(0, {"id": "root", "name": demo.CLASSES[0]})


def test_ids_and_the_order_of_categories_do_not_change_the_numbers(clean: Path, tmp_path: Path) -> None:
    expected, record = evaluate(clean), evaluate(changed(clean, tmp_path, renumbered))
    assert expected.metrics["box_ap"] > 0.3
    assert record.metrics == pytest.approx(expected.metrics, abs=1e-12)
    assert any("another order" in notice for notice in record.parameters["notices"])


def test_a_part_of_the_classes_is_evaluated_only_on_request(clean: Path, tmp_path: Path) -> None:
    def change(document: dict[str, Any]) -> None:
        gone = document["categories"].pop(1)["id"]
        document["annotations"] = [row for row in document["annotations"] if row["category_id"] != gone]

    data = changed(clean, tmp_path, change)
    with pytest.raises(ZooError, match=r"lacks 1 of the model's 4 classes .* --classes present"):
        evaluate(data)
    record = evaluate(data, present_classes=True, results_json=tmp_path / "out.json")
    assert any("of 3 of the model's 4 classes" in notice for notice in record.parameters["notices"])
    assert {row["category_id"] for row in json.loads((tmp_path / "out.json").read_text())} <= {1, 3, 4}


def test_images_of_half_the_size_are_refused(clean: Path, tmp_path: Path) -> None:
    data = changed(clean, tmp_path, lambda document: None)
    for path in (data / "val").iterdir():
        cv2.imwrite(str(path), cv2.imread(str(path))[::2, ::2])
    with pytest.raises(ZooError, match=r"images\[0\] says size .* is read as .*; and 5 more"):
        evaluate(data)


def test_images_that_are_not_there_make_it_a_part_of_the_dataset(
    clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = changed(clean, tmp_path, lambda document: None)
    (data / "val" / "000003.png").unlink()
    assert main.main(["accuracy", NAME, "--data", str(data), "--json"]) == 0
    captured = capsys.readouterr()
    record = json.loads(captured.out)
    assert (record["parameters"]["images"], record["parameters"]["all_images"]) == (7, 100)
    assert all(row["difference"] is None for row in record["comparison"])
    assert "1 of 8 images do not exist and are left out" in captured.err
    assert main.main(["accuracy", NAME, "--data", str(data)]) == 0
    text = capsys.readouterr().out
    assert "7 of 100 images" in text and "n/a" in text


def own_checkpoint(path: Path, **meta: Any) -> Path:
    """The demonstration's checkpoint with other metadata."""
    content = torch.load(zoo.fetch(NAME), weights_only=True)
    torch.save({**content, "meta": content["meta"] | meta}, path)
    return path


@pytest.mark.parametrize(
    ("classes", "sentence"),
    [(["a", "b"], r"tells 4 classes apart, its checkpoint names 2 \(a, b\)"), ("disk", r"names 1 \(disk\)")],
)
def test_class_names_that_are_not_those_of_the_head_are_said_before_the_first_image(
    classes: Any, sentence: str, clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "collect", None)  # is not reached
    with pytest.raises(ZooError, match=sentence):
        evaluate(clean, str(own_checkpoint(tmp_path / "x.ckpt", CLASSES=classes)))


def test_a_network_without_class_names_takes_the_order_of_the_file_and_says_so(
    clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mmdet_config, "class_names", lambda *_: ())
    path = str(own_checkpoint(tmp_path / "x.pth"))
    record = evaluate(clean, path)
    assert any("does not name its classes" in notice for notice in record.parameters["notices"])
    assert record.metrics == pytest.approx(evaluate(clean).metrics, abs=1e-12)
    data = changed(clean, tmp_path, lambda document: document["categories"].append({"id": 9, "name": "star"}))
    with pytest.raises(ZooError, match="has 5 classes, the network tells 4 apart"):
        evaluate(data, path)


@pytest.mark.parametrize("field", ["scores", "boxes"])
def test_detections_that_are_not_finite_end_the_run_at_their_image(
    field: str, clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> list[Detections]:
        one = Detections(torch.tensor([[0.0, 0, 9, 9]]), torch.tensor([0.5]), torch.tensor([0]))
        getattr(one, field)[0] = float("nan")
        return [one]

    monkeypatch.setattr(measure, "detect", broken)
    with pytest.raises(
        ZooError, match=rf"000001\.png: the model gives a {field[:-2] if field == 'boxes' else 'score'}"
    ):
        evaluate(clean)


def test_a_run_that_detects_nothing_says_so(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "detect", lambda *_: [Detections.empty(torch.zeros(1))])
    record = evaluate(clean)
    assert record.metrics["box_ap"] == 0
    assert record.parameters["notices"] == ["The model detected nothing in any image."]
