"""`bench doctor --predictions FILE --model NAME` names the preprocessing that gives the file's detections."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import zoo
from benchmarks.doctor import case as cases
from benchmarks.doctor import detections, rerun
from benchmarks.doctor.pipelines import pipelines
from benchmarks.perf import injected_faults
from zoo.coco_format.image_files import ORIENTATION
from zoo.manifest import api

ROOT = Path(__file__).parents[3]
NAME = "yolox_nano_0.1.0"


@pytest.fixture(scope="module")
def shared() -> Path:
    """YOLOX-nano's weights and 38 images of COCO."""
    folder = next((p / "shared" / "data" for p in ROOT.parents if (p / "shared" / "data").is_dir()), None)
    if folder is None:
        pytest.skip("needs ../shared/data: YOLOX-nano's weights and 38 images of COCO")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("key", ["channels", "resize-nearest", "stretched"])
def test_the_preprocessing_of_a_file_is_named(key: str, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_MANIFESTS", str(ROOT / "tests" / "data" / "yolox_nano_0.1.0.yaml"))
    case = cases.open_case(detections.opened(shared / "coco38", "coco_2017", None), 6)
    known = detections.Known(zoo.load_file(shared / "yolox_nano.pth", NAME), api.preprocessing(NAME))
    numbers, paths = rerun.number_of_labels(case, known.model), rerun.paths_of(case)
    wrong = next(one for one in pipelines(known.recipe) if one.key == key)
    parts = [rerun.detect(known.model, wrong, path, numbers, number) for number, path in paths.items()]
    result = injected_faults.compared(case, known, np.concatenate(parts))
    assert result["named"][0] == key
    assert result["points"][0] == pytest.approx(100 * (result["repaired"] - result["ap"]), abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("images", [5, 12])
def test_ignored_exif_is_named_once_by_the_file_and_the_model(
    images: int, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """5 images: too few to be sure from the boxes alone. Every second one is stored turned."""
    monkeypatch.setenv("ZOO_MANIFESTS", str(ROOT / "tests" / "data" / "yolox_nano_0.1.0.yaml"))
    turned_copies(shared / "coco38", tmp_path, images)
    case = cases.open_case(detections.opened(tmp_path, "coco_2017", None))
    known = detections.Known(zoo.load_file(shared / "yolox_nano.pth", NAME), api.preprocessing(NAME))
    numbers, paths = rerun.number_of_labels(case, known.model), rerun.paths_of(case)
    for key, expected in (("exif", ["exif"]), ("", [])):
        pipeline = next(one for one in pipelines(known.recipe) if one.key == key)
        parts = [rerun.detect(known.model, pipeline, path, numbers, number) for number, path in paths.items()]
        result = injected_faults.compared(case, known, np.concatenate(parts))
        assert result["named"] == expected


def turned_copies(source: Path, target: Path, count: int) -> None:
    """The first images of a dataset; every second one stored a quarter to the left, and marked so by EXIF."""
    annotations = json.loads((source / "annotations" / "instances_val2017.json").read_text())
    annotations["images"] = annotations["images"][:count]
    kept = {image["id"] for image in annotations["images"]}
    annotations["annotations"] = [one for one in annotations["annotations"] if one["image_id"] in kept]
    (target / "annotations").mkdir()
    (target / "annotations" / "instances_val2017.json").write_text(json.dumps(annotations))
    (target / "val2017").mkdir()
    for number, image in enumerate(annotations["images"]):
        with Image.open(source / "val2017" / image["file_name"]) as pixels:
            exif = Image.Exif()
            exif[ORIENTATION] = 6 if number % 2 else 1
            stored = pixels.transpose(Image.Transpose.ROTATE_90) if number % 2 else pixels
            stored.save(target / "val2017" / image["file_name"], exif=exif, quality=95)


def test_detections_agree_with_themselves_and_less_with_moved_scores() -> None:
    table = np.array([[1, 10, 10, 50, 40, 0.9, 3], [1, 80, 10, 20, 30, 0.5, 3]])
    assert rerun.agreement(table, table) == pytest.approx(1)
    changed = table.copy()
    changed[:, 5] -= 0.1
    assert rerun.agreement(table, changed) == pytest.approx(0.5)
    changed[:, 6] = 4
    assert rerun.agreement(table, changed) == 0
    assert rerun.agreement(table, table[:0]) == 0


def test_what_a_selection_left_out_is_named() -> None:
    random = np.random.default_rng(0)
    own = np.column_stack([np.repeat(np.arange(10), 20), random.uniform(0, 100, (200, 4)), random.random(200)])
    high = rerun.left_out(own[own[:, 5] > 0.4], own, 3.0)
    assert high is not None
    assert high.key.startswith("score-threshold-0.4")
    first = rerun.left_out(own[np.arange(200) % 20 < 5], own, 3.0)
    assert first is not None
    assert first.key == "at-most-5"
    assert rerun.left_out(own, own, 3.0) is None


def test_images_that_a_threshold_emptied_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """An image where the file has nothing agrees with any pipeline that detects nothing there."""
    table = np.array([[1, 10, 10, 50, 40, 0.9, 3], [2, 80, 10, 20, 30, 0.2, 3]])
    published, wrong = pipelines(api.preprocessing("yolox_tiny_8x8_300e_coco")), table[:1].copy()
    wrong[0, 5] -= 0.05
    tried = [next(published), next(published)]
    results = {tried[0].key: table, tried[1].key: wrong}
    monkeypatch.setattr(
        rerun, "detect", lambda _, one, path, numbers, number: results[one.key][results[one.key][:, 0] == number]
    )
    paths = {1: Path("1.jpg"), 2: Path("2.jpg")}
    scores, images = rerun.compared([table[:1], table[:1]], object(), tried, np.zeros(1), paths)  # type: ignore[arg-type]
    assert images == 1 and scores == pytest.approx([1.0, 0.75])
