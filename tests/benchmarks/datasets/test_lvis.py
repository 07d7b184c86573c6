"""LVIS: what the LVIS API leaves out, by its own numbers; fields that only LVIS has."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.datasets import lvis, lvis_bootstrap
from benchmarks.datasets.catalog import open_dataset
from benchmarks.datasets.files import DatasetError
from benchmarks.datasets.request import MetricConfig
from zoo.coco_format.segmentation import to_rle

TINY = Path(__file__).parents[2] / "data" / "lvis_v1"
FILE = "annotations/lvis_v1_val.json"
HEIGHT, WIDTH = 60, 80

# What lvis 0.5.3 gives for `random_case`: seed, measure -> AP, AP50, AP75, APr, APc, APf, APs, APm, APl, AR@300.
RECORDED: dict[tuple[int, str], list[float]] = {
    (0, "box"): [
        0.016039004732466843,
        0.03479374436329807,
        0.018237951265880927,
        0.006343303249243842,
        0.03064914500186822,
        0.006276715204676967,
        0.005817588997803047,
        0.22506098435930544,
        -1.0,
        0.17323809523809522,
    ],
    (0, "mask"): [
        0.014914889421523428,
        0.03090950978599418,
        0.018237951265880927,
        0.005883932987893384,
        0.031340201912437325,
        0.0030050551474245565,
        0.00456044020600079,
        0.23339431769263877,
        -1.0,
        0.1663809523809524,
    ],
    (1, "box"): [
        0.04720847084708471,
        0.07725522552255225,
        0.04777227722772277,
        0.029482948294829486,
        0.06961633663366337,
        0.03366336633663366,
        0.04448844884488449,
        0.2666666666666666,
        -1.0,
        0.18766666666666665,
    ],
    (1, "mask"): [
        0.044634213421342134,
        0.07725522552255225,
        0.04777227722772277,
        0.029482948294829486,
        0.06318069306930693,
        0.03366336633663366,
        0.04112211221122112,
        0.2666666666666666,
        -1.0,
        0.18266666666666664,
    ],
    (4, "box"): [
        0.07184625360562459,
        0.13068870122306347,
        0.08678678697914433,
        0.3014851485148515,
        0.000525990099009901,
        0.02834706965762585,
        0.052019296468344384,
        0.6999999999999998,
        -1.0,
        0.228,
    ],
    (4, "mask"): [
        0.07484902581056042,
        0.13075905036324065,
        0.08637220810203626,
        0.31485148514851485,
        0.00035066006600660066,
        0.029346161886137034,
        0.05073183627804301,
        0.7999999999999999,
        -1.0,
        0.2293333333333333,
    ],
}


def random_case(seed: int, measure: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Objects and detections, some of area 0; with seeds divisible by 4 more than 300 detections in two images."""
    random = np.random.default_rng(seed)
    categories = [{"id": i, "name": str(i), "frequency": "rcf"[i % 3]} for i in range(1, 6)]
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for number in range(1, 8):
        negative = random.choice(range(1, 6), 2, replace=False).tolist()
        open_ended = random.choice(range(1, 6), 1).tolist()
        lists = {"neg_category_ids": negative, "not_exhaustive_category_ids": open_ended}
        images.append({"id": number, "height": HEIGHT, "width": WIDTH, **lists})
        for _ in range(random.integers(0, 8)):
            box, category = random_box(random), int(random.integers(1, 6))
            empty = random.random() < 0.15
            known = {"image_id": number, "category_id": category}
            area = 0 if empty else box[2] * box[3]
            shape = {"bbox": box, "area": area, "segmentation": mask(box, empty), "iscrowd": 0}
            annotations.append({"id": len(annotations) + 1, **known, **shape})
            for _ in range(random.integers(0, 3)):
                near = [v + float(d) for v, d in zip(box, random.normal(0, 2, 4))]
                score = round(float(random.random()), 2)
                rows.append({**known, "score": score, **detected(near, random.random() < 0.15, measure)})
        for _ in range(400 if seed % 4 == 0 and number < 3 else 10):
            box, category = random_box(random), int(random.integers(1, 6))
            row = {"image_id": number, "category_id": category, "score": float(random.random())}
            rows.append({**row, **detected(box, random.random() < 0.2, measure)})
    return {"images": images, "annotations": annotations, "categories": categories}, rows


def random_box(random: np.random.Generator) -> list[float]:
    """x, y, width, height inside the image."""
    x, y = float(random.uniform(0, WIDTH * 0.7)), float(random.uniform(0, HEIGHT * 0.7))
    return [x, y, float(random.uniform(1, WIDTH - x)), float(random.uniform(1, HEIGHT - y))]


def mask(box: Sequence[float], empty: bool) -> dict[str, Any]:
    """A box as a mask, or nothing."""
    if empty:
        return to_rle({"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]}, HEIGHT, WIDTH)
    x, y, w, h = box
    return to_rle([[x, y, x + w, y, x + w, y + h, x, y + h]], HEIGHT, WIDTH)


def detected(box: list[float], empty: bool, measure: str) -> dict[str, Any]:
    """A detection's shape."""
    box = [*box[:2], 0.0 if empty else max(box[2], 0.0), max(box[3], 0.0)]
    return {"bbox": box} if measure == "box" else {"segmentation": mask(box, empty or min(box[2:]) < 1)}


@pytest.mark.parametrize(("seed", "measure"), RECORDED)
def test_area_0_and_more_than_300_detections_count_as_in_the_lvis_api(seed: int, measure: str) -> None:
    ground_truth, rows = random_case(seed, measure)
    images = [row["id"] for row in ground_truth["images"]]

    def results(ids: Sequence[Any]) -> list[dict[str, Any]]:
        return [row for row in rows if row["image_id"] in ids]

    result = lvis.evaluate(ground_truth, results, measure, images)
    assert list(result.values()) == pytest.approx(RECORDED[seed, measure], abs=1e-12)
    counted = lvis.with_area(ground_truth)
    drawn = lvis_bootstrap.resample(counted, lambda _: results, images, [measure], lvis.limited)
    assert drawn.all_images == pytest.approx(result, abs=1e-12)


def changed(root: Path, change: Any, **request: Any) -> Any:
    """The tiny LVIS with a changed annotation file."""
    shutil.copytree(TINY, root / "data")
    document = json.loads((TINY / FILE).read_text())
    change(document)
    (root / "data" / FILE).write_text(json.dumps(document))
    return open_dataset("lvis_v1", root / "data", MetricConfig(**request))


@pytest.mark.parametrize("value", [None, [99], "3", [None]])
@pytest.mark.parametrize("key", ["neg_category_ids", "not_exhaustive_category_ids"])
def test_images_without_lvis_own_lists_are_refused(tmp_path: Path, key: str, value: Any) -> None:
    with pytest.raises(DatasetError, match=rf"images\[0\]\.{key} is"):
        changed(tmp_path, lambda document: document["images"][0].update({key: value}))


def test_classes_without_a_frequency_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"categories\[0\]\.frequency is null"):
        changed(tmp_path, lambda document: document["categories"][0].pop("frequency"))


def test_classes_of_other_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="lacks 1 of the model's 3 classes"):
        changed(tmp_path, lambda document: None, classes=("aerosol_can", "air_conditioner", "aeroplane"))


def test_labels_go_to_classes_by_name(tmp_path: Path) -> None:
    names = ("airplane", "aerosol_can", "air_conditioner")
    assert changed(tmp_path, lambda document: None, classes=names).category_ids == [3, 1, 2]
