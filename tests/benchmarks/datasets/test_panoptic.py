"""Panoptic quality, its files, and annotations that cannot be right."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.accuracy.measure import write_results
from benchmarks.datasets.catalog import open_dataset
from benchmarks.datasets.dataset import Dataset
from benchmarks.datasets.files import DatasetError
from benchmarks.datasets.predictions import Predictions, compact
from benchmarks.datasets.request import MetricConfig
from benchmarks.datasets.results_file import evaluate_file
from tests.benchmarks.datasets.tiny import DATA, detections, perfect, tiny
from tests.data.scenes import SCENES
from zoo.errors import UsageError


def test_panoptic_quality_by_hand() -> None:
    dataset = tiny("coco_2017_panoptic", measures=("panoptic", "box", "mask"))
    everything = dataset.evaluate(perfect(dataset))
    assert everything["pq"] == everything["pq_things"] == everything["pq_stuff"] == pytest.approx(1)
    assert everything["mask_ap"] == pytest.approx(1)
    numbers = dataset.evaluate(perfect(dataset, skip=[1]))
    # Persons: 2 found, 1 missed; bicycles: 1 and 1; stuff: 1 and 1. PQ = found / (found + missed / 2).
    assert numbers["pq_things"] == pytest.approx((2 / 2.5 + 1 / 1.5) / 2)
    assert numbers["pq_stuff"] == pytest.approx(1 / 1.5)
    assert numbers["sq"] == pytest.approx(1)


def moved(dataset: Dataset, seed: int) -> dict[int | str, Predictions]:
    """Panoptic maps near the truth: moved, in parts void, with one class taken for another."""
    random, predictions = np.random.default_rng(seed), {}
    for image in dataset.images:
        one = detections(next(s for s in SCENES if s.name == image.path.stem))
        assert one.panoptic is not None
        one.panoptic = one.panoptic.roll(tuple(random.integers(-12, 13, 2).tolist()), (0, 1))
        one.panoptic[: random.integers(1, 30)] = 3
        wrong = one.panoptic == 1001 if random.random() < 0.4 else one.panoptic < 0
        one.panoptic[wrong] = 5000
        predictions[image.id] = compact(one)
    return predictions


@pytest.mark.parametrize("seed", range(3))
def test_panoptic_quality_is_that_of_panopticapi(seed: int) -> None:
    dataset = tiny("coco_2017_panoptic", measures=("panoptic",))
    expected = json.loads((DATA / "reference_metrics.json").read_text())["panoptic"][seed]
    assert dataset.evaluate(moved(dataset, seed)) == pytest.approx(expected, abs=1e-12)
    assert dataset.resample(moved(dataset, seed)).all_images == pytest.approx(expected, abs=1e-12)


def test_panoptic_results_are_files_that_appear_whole(tmp_path: Path) -> None:
    dataset = tiny("coco_2017_panoptic", measures=("panoptic",))
    predictions = moved(dataset, 0)
    write_results(dataset, predictions, tmp_path / "out.json")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.json", "out_panoptic", "out_panoptic.json"]
    rows = json.loads((tmp_path / "out_panoptic.json").read_text())["annotations"]
    assert [row["image_id"] for row in rows] == list(predictions)
    assert {p.name for p in (tmp_path / "out_panoptic").iterdir()} == {row["file_name"] for row in rows}
    with pytest.raises(UsageError, match="out_panoptic is not empty"):
        write_results(dataset, predictions, tmp_path / "out.json")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda d: d["annotations"][0].update(image_id=99), r"annotations\[0\]\.image_id is 99"),
        (lambda d: d["annotations"][0].update(segments_info=None), r"annotations\[0\]\.segments_info is null"),
        (lambda d: d["annotations"][0]["segments_info"][0].update(id=0), r"segments_info\[0\]\.id is 0"),
        (lambda d: d["annotations"][0]["segments_info"][0].update(category_id=5), r"\[0\]\.category_id is 5"),
        (lambda d: d["annotations"].pop(), "has no annotation for 1 of its images"),
        (lambda d: d["categories"][0].pop("isthing"), r"categories\[0\]\.isthing is null"),
        (lambda d: d["images"][0].update(width=7), r"7 x 80, but 000001\.jpg is read as 120 x 80"),
    ],
)
def test_panoptic_annotations_that_cannot_be_right_are_named(change: Any, sentence: str, tmp_path: Path) -> None:
    root = tmp_path / "data"
    shutil.copytree(DATA / "coco_panoptic", root)
    path = root / "annotations" / "panoptic_val2017.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(DatasetError, match=sentence):
        open_dataset("coco_2017_panoptic", root, MetricConfig(measures=("panoptic",)))


def test_panoptic_results_of_any_network_are_evaluated_from_their_files(tmp_path: Path) -> None:
    dataset = tiny("coco_2017_panoptic", measures=("panoptic",))
    predictions = moved(dataset, 0)
    write_results(dataset, predictions, tmp_path / "out.json")
    config = MetricConfig(measures=("panoptic",), predictions=True)
    opened = open_dataset("coco_2017_panoptic", DATA / "coco_panoptic", config)
    scored = evaluate_file(opened, tmp_path / "out_panoptic.json", config)
    assert scored.metrics == pytest.approx(dataset.evaluate(predictions), abs=1e-12)
    rows = json.loads((tmp_path / "out_panoptic.json").read_text())
    (tmp_path / "out_panoptic.json").write_text(json.dumps({"annotations": rows["annotations"][1:]}))
    with pytest.raises(DatasetError, match="has nothing for 1 of 4 images"):
        evaluate_file(opened, tmp_path / "out_panoptic.json", config)
