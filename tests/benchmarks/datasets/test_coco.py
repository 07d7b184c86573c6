"""COCO: from the files up, and the two metric backends compared."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.datasets import coco_metric, streaming
from benchmarks.datasets.catalog import open_dataset
from benchmarks.datasets.coco_results import Source, coco_results
from benchmarks.datasets.files import DatasetError, UnknownDataset
from benchmarks.datasets.predictions import Predictions, compact
from benchmarks.datasets.request import MetricConfig
from zoo.coco_format.results import encode_masks
from zoo.structures import Detections

TINY = Path(__file__).parents[2] / "data" / "coco"


def predictions(rows: list[tuple[int, float, list[float]]]) -> Predictions:
    """Rows of (label, score, xyxy) as what a model found."""
    labels, scores, boxes = zip(*rows)
    return Predictions(np.array(boxes, np.float32), np.array(scores, np.float32), np.array(labels, np.int64))


def test_labels_go_to_categories_by_name_whatever_the_order_of_the_file() -> None:
    dataset = open_dataset("coco_2017", TINY, MetricConfig(classes=("car", "person")))
    assert dataset.classes == ("car", "person")
    assert list(dataset.category_ids) == [7, 1]
    assert any("another order" in notice for notice in dataset.notices)


def test_box_ap_by_hand() -> None:
    dataset = open_dataset("coco_2017", TINY)
    images = {
        10: predictions([(0, 0.9, [8, 8, 48, 38]), (1, 0.8, [60, 20, 110, 70])]),
        17: predictions([(0, 0.7, [4, 80, 28, 104]), (2, 0.6, [200, 200, 210, 210])]),
    }
    numbers = dataset.evaluate(images)
    # person: 2 of 3 at precision 1, so 67 of 101 recall points; bicycle: all; car: none of 1.
    assert numbers["box_ap"] == pytest.approx((67 / 101 + 1 + 0) / 3)
    assert numbers["box_ar_100"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert numbers["box_ap_large"] == -1


def test_a_image_that_is_not_evaluated_costs_nothing() -> None:
    dataset = open_dataset("coco_2017", TINY)
    only = {10: predictions([(0, 0.9, [8, 8, 48, 38]), (1, 0.8, [60, 20, 110, 70])])}
    assert dataset.evaluate(only)["box_ap"] == pytest.approx(1.0)


def test_nothing_found_is_a_zero_in_both_metric_backends() -> None:
    for backend in ("pycocotools", "hotcoco"):
        dataset = open_dataset(
            "coco_2017", TINY, MetricConfig(measures=("box", "mask", "proposal"), metric_backend=backend)
        )
        numbers = dataset.evaluate({p.id: compact(Detections.empty(torch.zeros(1))) for p in dataset.images})
        assert numbers["box_ap"] == numbers["mask_ap"] == numbers["ar_100"] == 0


@pytest.mark.parametrize("count", [0, 1, 30])
def test_masks_survive_being_packed(count: int) -> None:
    masks = torch.rand((count, 9, 14), generator=torch.Generator().manual_seed(count)) > 0.6
    one = Detections(torch.zeros(count, 4), torch.zeros(count), torch.zeros(count).long(), masks)
    packed = compact(one).masks
    assert packed is not None
    assert list(packed) == list(packed) == encode_masks(masks)  # as often as one likes


def test_masks_are_ranked_by_their_own_scores_where_they_have_some() -> None:
    dataset = open_dataset("coco_2017", TINY, MetricConfig(measures=("box", "mask")))
    width, height = 120, 80
    masks = torch.zeros((2, height, width), dtype=torch.bool)
    masks[0, 8:38, 8:48] = True
    boxes = torch.tensor([[8.0, 8, 48, 38], [0, 0, 5, 5]])
    one = Detections(boxes, torch.tensor([0.9, 0.8]), torch.zeros(2).long(), masks)
    one.mask_scores = torch.tensor([0.1, 0.8])
    numbers = dataset.evaluate({10: compact(one)})
    # Persons: the box comes first in the ranking, its mask second after a wrong one; bicycles: none of 1.
    assert numbers["box_ap"] == pytest.approx(1 / 2)
    assert numbers["mask_ap"] == pytest.approx(1 / 4)


def test_results_carry_the_category_ids_of_the_dataset(tmp_path: Path) -> None:
    dataset = open_dataset("coco_2017", TINY)
    rows = coco_results({17: predictions([(2, 0.5, [1, 2, 4, 6])])}, dataset.category_ids)
    assert list(rows) == [{"image_id": 17, "category_id": 7, "bbox": [1, 2, 3, 4], "score": 0.5}]


@pytest.mark.parametrize("protocol", ["coco", "mmdet-v2"])
@pytest.mark.parametrize("measure", ["box", "mask", "proposal"])
def test_metric_backends_agree_to_the_last_bit(measure: str, protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "IMAGES", 4)  # so that there are several blocks
    for seed in range(12):
        ground_truth, rows = random_case(np.random.default_rng(seed), measure == "mask")
        ids = [image["id"] for image in ground_truth["images"]][seed % 2 :]
        categories = [row["id"] for row in ground_truth["categories"]]
        numbers = [
            coco_metric.evaluate(
                json.loads(json.dumps(ground_truth)), source(rows), measure, ids, categories, protocol, backend
            )
            for backend in ("pycocotools", "hotcoco")
        ]
        assert numbers[0] == numbers[1]


@pytest.mark.parametrize("backend", ["pycocotools", "hotcoco"])
def test_mmdet_v2_ap_is_at_100_detections_as_pycocotools_summarizes_it(backend: str) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    ground_truth, rows = random_case(np.random.default_rng(5), False)
    random = np.random.default_rng(6)
    for image in ground_truth["images"]:
        for _ in range(150):  # of one class: the true ones come after a hundred others
            box = random_box(random, image["height"], image["width"])
            rows.append({"image_id": image["id"], "category_id": 1, "bbox": box, "score": 2 + float(random.random())})
    ids, categories = [i["id"] for i in ground_truth["images"]], [c["id"] for c in ground_truth["categories"]]
    numbers = coco_metric.evaluate(
        json.loads(json.dumps(ground_truth)), source(rows), "box", ids, categories, "mmdet-v2", backend
    )
    truth = COCO()
    truth.dataset = ground_truth
    truth.createIndex()
    evaluation = COCOeval(truth, truth.loadRes(rows), "bbox")
    evaluation.params.maxDets = [100, 300, 1000]
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert list(numbers.values()) == evaluation.stats.tolist()
    assert numbers["box_ap"] < float(
        np.mean(evaluation.eval["precision"][..., 0, 2][evaluation.eval["precision"][..., 0, 2] > -1])
    )


def source(rows: list[dict[str, Any]]) -> Source:
    """Rows as a metric asks for them."""
    return lambda image_ids: [row for row in rows if row["image_id"] in image_ids]


def random_case(random: np.random.Generator, masks: bool) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Annotations with crowds, empty images and empty classes; results near and far from them with tied scores."""
    height, width = (int(n) for n in random.integers(30, 300, 2))
    images = [{"id": int(i), "width": width, "height": height, "file_name": f"{i}.jpg"} for i in range(3, 12)]
    annotations: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for image in images[:-1]:
        for _ in range(random.integers(0, 8)):
            box = random_box(random, height, width)
            row = {"image_id": image["id"], "category_id": int(random.integers(1, 4)), "bbox": box}
            crowd, area = int(random.random() < 0.15), float(box[2] * box[3] * random.uniform(0.4, 1))
            shape = {"segmentation": rectangle(box, height, width)} if masks else {}
            annotations.append(row | shape | {"id": len(annotations) + 1, "iscrowd": crowd, "area": area})
            for _ in range(random.integers(0, 4)):
                moved = [float(np.float32(v + random.normal(0, 0.08) * s)) for v, s in zip(box, box[2:] * 2)]
                found_box = moved if random.random() < 0.8 else random_box(random, height, width)
                score = {"score": round(float(random.random()), 1)}
                shape = {"segmentation": rectangle(found_box, height, width)} if masks else {"bbox": found_box}
                rows.append({"image_id": image["id"], "category_id": row["category_id"]} | shape | score)
    categories = [{"id": number, "name": str(number)} for number in (4, 1, 2, 3)]
    return {"images": images, "annotations": annotations, "categories": categories}, rows


def random_box(random: np.random.Generator, height: int, width: int) -> list[float]:
    """x, y, width, height, somewhere at least partly inside."""
    w, h = np.exp(random.uniform(np.log(3), np.log(min(height, width)), 2))
    return [float(v) for v in (random.uniform(-2, width - w * 0.5), random.uniform(-2, height - h * 0.5), w, h)]


def rectangle(box: list[float], height: int, width: int) -> dict[str, Any]:
    """A box as a mask."""
    x, y, w, h = (max(round(v), 0) for v in box)
    mask = torch.zeros((1, height, width), dtype=torch.bool)
    mask[:, y : y + h, x : x + w] = True
    return encode_masks(mask)[0]


def test_a_folder_without_annotations_says_which_file_it_expects(tmp_path: Path) -> None:
    shutil.copytree(TINY / "val2017", tmp_path / "val2017")
    expected = r"annotations/instances_val2017\.json does not exist. `bench datasets coco_2017` shows the layout"
    with pytest.raises(DatasetError, match=expected):
        open_dataset("coco_2017", tmp_path)


def test_a_folder_without_images_says_which_folder_it_expects(tmp_path: Path) -> None:
    shutil.copytree(TINY / "annotations", tmp_path / "annotations")
    with pytest.raises(DatasetError, match="val2017 does not exist"):
        open_dataset("coco_2017", tmp_path)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "is not valid JSON"),
        ("[]", "has no 'images'"),
        ('{"images": [], "annotations": []}', "has no 'categories'"),
        ('{"images": [{"id": 1}], "annotations": [], "categories": []}', r"images\[0\]\.file_name is null"),
    ],
)
def test_a_broken_annotation_file_is_named(tmp_path: Path, content: str, complaint: str) -> None:
    path = tmp_path / "annotations" / "instances_val2017.json"
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(DatasetError, match=complaint) as caught:
        open_dataset("coco_2017", tmp_path)
    assert str(path) in str(caught.value)


def test_a_model_of_other_classes_is_refused() -> None:
    with pytest.raises(DatasetError, match=r"lacks 1 of the model's 2 classes \(zebra\)"):
        open_dataset("coco_2017", TINY, MetricConfig(classes=("person", "zebra")))


def test_an_unknown_dataset_suggests_names() -> None:
    with pytest.raises(UnknownDataset, match="Nearest: coco_2017"):
        open_dataset("coco_2071", TINY)


def test_annotations_without_masks_have_no_mask_ap(tmp_path: Path) -> None:
    shutil.copytree(TINY, tmp_path / "coco")
    path = tmp_path / "coco" / "annotations" / "instances_val2017.json"
    ground_truth = json.loads(path.read_text())
    for row in ground_truth["annotations"]:
        del row["segmentation"]
    path.write_text(json.dumps(ground_truth))
    assert open_dataset("coco_2017", tmp_path / "coco").classes == ("person", "bicycle", "car")
    with pytest.raises(DatasetError, match="7 of 7 objects have no mask"):
        open_dataset("coco_2017", tmp_path / "coco", MetricConfig(measures=("box", "mask")))


def persons(shift: float = 0.0) -> dict[int | str, Predictions]:
    """The annotated persons of the tiny dataset as predictions, their keypoints `shift` pixels off."""
    document = json.loads((TINY / "annotations" / "person_keypoints_val2017.json").read_text())
    result: dict[int | str, Predictions] = {}
    for image in document["images"]:
        rows = [row for row in document["annotations"] if row["image_id"] == image["id"]]
        boxes = np.array([row["bbox"] for row in rows], np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        points = np.array([row["keypoints"] for row in rows], np.float32).reshape(-1, 17, 3)
        points[..., :2] += shift
        one = Predictions(boxes, np.linspace(1, 0.5, len(rows), dtype=np.float32), np.zeros(len(rows), np.int64))
        result[image["id"]] = replace(one, keypoints=points)
    return result


def keypoint_numbers(shift: float, backend: str) -> dict[str, float]:
    config = MetricConfig(("person",), ("box", "keypoint"), metric_backend=backend)
    return open_dataset("coco_2017_keypoints", TINY, config).evaluate(persons(shift))


@pytest.mark.parametrize("shift", [0.0, 1.0, 3.0])
def test_keypoint_ap_is_the_same_in_both_metric_backends_and_falls_with_distance(shift: float) -> None:
    pycocotools, hotcoco = (keypoint_numbers(shift, backend) for backend in ("pycocotools", "hotcoco"))
    assert pycocotools == hotcoco
    assert (pycocotools["keypoint_ap"] == 1.0) == (shift == 0.0)
    assert pycocotools["box_ap"] == 1.0
    assert len([name for name in pycocotools if name.startswith("keypoint_")]) == 10


def test_keypoints_of_a_network_become_indices_of_pixels() -> None:
    one = Detections(torch.zeros(1, 4), torch.ones(1), torch.zeros(1).long(), keypoints=torch.full((1, 17, 3), 2.5))
    assert compact(one).keypoints[0, 0].tolist() == [2.0, 2.0, 2.5]
    assert compact(one, pixel_center=0.0).keypoints[0, 0].tolist() == [2.5, 2.5, 2.5]
    (row,) = coco_results({10: compact(one)}, [1])
    assert row["keypoints"] == [2.0, 2.0, 2.5] * 17


def test_annotations_without_keypoints_are_named(tmp_path: Path) -> None:
    shutil.copytree(TINY, tmp_path / "coco")
    file = tmp_path / "coco" / "annotations" / "person_keypoints_val2017.json"
    document = json.loads(file.read_text())
    document["annotations"][0]["keypoints"] = [1, 2, 2]
    file.write_text(json.dumps(document))
    with pytest.raises(DatasetError, match="it should be 51 numbers"):
        open_dataset("coco_2017_keypoints", tmp_path / "coco", MetricConfig(("person",), ("keypoint",)))
    del document["annotations"][0]["keypoints"]
    file.write_text(json.dumps(document))
    with pytest.raises(DatasetError, match=r"annotations\[0\].keypoints is null"):
        open_dataset("coco_2017_keypoints", tmp_path / "coco", MetricConfig(("person",), ("keypoint",)))
