"""`bench accuracy --predictions`: the clean file's numbers whatever a labeling tool writes, or one sentence."""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from benchmarks.cli import main
from benchmarks.datasets.catalog import open_dataset
from benchmarks.datasets.request import MetricConfig
from benchmarks.datasets.results_file import evaluate_file
from zoo.coco_format.segmentation import to_rle
from zoo.errors import ZooError

TINY = Path(__file__).parents[2] / "data" / "coco"
CLEAN: dict[str, Any] = json.loads((TINY / "annotations" / "instances_val2017.json").read_text())
BACKENDS = ("hotcoco", "pycocotools")
Change = Callable[[dict[str, Any], list[dict[str, Any]]], object]


def predictions() -> list[dict[str, Any]]:
    """Detections near the objects, all with different scores, and some elsewhere."""
    random, rows = np.random.default_rng(3), []
    sizes = {image["id"]: (image["height"], image["width"]) for image in CLEAN["images"]}
    for annotation in [*CLEAN["annotations"], *CLEAN["annotations"][:3]]:
        x, y, w, h = (v + float(d) for v, d in zip(annotation["bbox"], random.normal(0, 2.5, 4)))
        outline = [x, y, x + w, y, x + w, y + h, x, y + h]
        mask = to_rle([outline], *sizes[annotation["image_id"]])
        shape = {"bbox": [x, y, w, h], "segmentation": mask, "score": float(random.random())}
        rows.append({"image_id": annotation["image_id"], "category_id": annotation["category_id"], **shape})
    return rows


ROWS = predictions()


def evaluate(root: Path, change: Change = lambda *_: None, **request: Any) -> dict[str, float]:
    """The numbers of a changed copy."""
    document, rows = copy.deepcopy(CLEAN), copy.deepcopy(ROWS)
    change(document, rows)
    data = root / "data"
    if not data.exists():
        shutil.copytree(TINY, data)
    (data / "annotations" / "instances_val2017.json").write_text(json.dumps(document))
    (root / "predictions.json").write_text(json.dumps(rows))
    config = MetricConfig(**{"measures": ("box", "mask"), "predictions": True, **request})
    return evaluate_file(open_dataset("coco_2017", data, config), root / "predictions.json", config).metrics


def reidentify(part: str, refers: str, new: Callable[[int], Any]) -> Change:
    """Other ids of a part of the file, and of what refers to it."""

    def change(document: dict[str, Any], rows: list[dict[str, Any]]) -> None:
        ids = {row["id"]: new(n) for n, row in enumerate(document[part])}
        for row in document[part]:
            row["id"] = ids[row["id"]]
        for row in [*document["annotations"], *rows]:
            row[refers] = ids[row[refers]]

    return change


IDS = st.one_of(
    st.lists(st.integers(-(2**63), 2**63), min_size=9, max_size=9, unique=True),
    st.lists(st.text(min_size=1), min_size=9, max_size=9, unique=True),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=9, max_size=9, unique=True),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    images=IDS,
    categories=IDS,
    annotations=st.lists(st.one_of(st.integers(), st.text()), min_size=9),
    seed=st.integers(0),
)
def test_ids_and_orders_mean_nothing(
    tmp_path: Path, images: list[Any], categories: list[Any], annotations: list[Any], seed: int
) -> None:
    def change(document: dict[str, Any], rows: list[dict[str, Any]]) -> None:
        reidentify("images", "image_id", images.__getitem__)(document, rows)
        reidentify("categories", "category_id", categories.__getitem__)(document, rows)
        for row, number in zip(document["annotations"], annotations):
            row["id"] = number
        random = np.random.default_rng(seed)
        for part in (document["images"], document["categories"], document["annotations"], rows):
            random.shuffle(part)  # type: ignore[arg-type]

    clean = evaluate(tmp_path)
    for backend in BACKENDS:
        assert evaluate(tmp_path, change, metric_backend=backend) == pytest.approx(clean, abs=1e-12)


def every(part: str, key: str, value: Any) -> Change:
    """A value in all rows of a part of the file."""
    return lambda document, rows: [row.update({key: value}) for row in document[part]]


def without(part: str, key: str) -> Change:
    """A key taken out of all rows of a part of the file."""
    return lambda document, rows: [row.pop(key, None) for row in document[part]]


SAME: dict[str, Change] = {
    "annotation ids that occur twice": every("annotations", "id", 1),
    "annotations without ids": without("annotations", "id"),
    "no iscrowd but the crowd's": lambda d, r: [a.pop("iscrowd") for a in d["annotations"] if not a["iscrowd"]],
    "areas that are missing": without("annotations", "area"),
    "sizes that are missing": lambda d, r: [image.pop(side) for image in d["images"] for side in ("width", "height")],
    "paths of Windows": lambda d, r: [i.update(file_name="D:\\set\\val2017\\" + i["file_name"]) for i in d["images"]],
    "a root category": lambda d, r: d["categories"].insert(0, {"id": 0, "name": "person", "supercategory": "none"}),
    "ids as floats in the predictions": lambda d, r: [row.update(image_id=float(row["image_id"])) for row in r],
    "annotations of other images": lambda d, r: d["annotations"].append({**d["annotations"][0], "image_id": 99}),
    "further fields": every("annotations", "ignore", 1),
}


@pytest.mark.parametrize("case", SAME)
@pytest.mark.parametrize("backend", BACKENDS)
def test_what_labeling_tools_write_gives_the_numbers_of_the_clean_file(tmp_path: Path, case: str, backend: str) -> None:
    clean = evaluate(tmp_path)
    assert evaluate(tmp_path, SAME[case], metric_backend=backend) == pytest.approx(clean, abs=1e-12)


def one(part: str, key: str, value: Any) -> Change:
    """A value in the second row of a part of the file."""
    return lambda document, rows: document[part][1].update({key: value})


def row(key: str, value: Any) -> Change:
    """A value in the second prediction."""
    return lambda document, rows: rows[1].update({key: value})


REFUSED: list[tuple[Change, str]] = [
    *((one("annotations", "bbox", value), r"annotations\[1\]\.bbox") for value in (None, [1, 2, 3], "1 2 3 4", {})),
    *((one("annotations", "bbox", [0, 0, 5, value]), r"bbox") for value in (-1, "4", True, None, float("nan"), 1e300)),
    *((one("annotations", "area", value), r"annotations\[1\]\.area") for value in (None, "4", -1, float("inf"))),
    *((one("annotations", "iscrowd", value), r"annotations\[1\]\.iscrowd") for value in (None, "0", 2, [])),
    *((one("annotations", "image_id", value), r"annotations\[1\]\.image_id") for value in (None, "10", True, [10])),
    *((one("annotations", "category_id", value), r"annotations\[1\]\.category_id") for value in (None, "1", 99, {})),
    *((one("images", "id", value), r"images\[1\]\.id") for value in (None, 10, 10.0, True, float("nan"))),
    *((one("images", "file_name", value), r"images\[1\]\.file_name") for value in (None, "", 3, ["a"])),
    *((one("images", "width", value), r"images\[1\]\.width") for value in (None, 0, -5, "96", 10.5, True)),
    (one("images", "width", 97), r"97 x 128, but 000002\.jpg is read as 96 x 128"),
    (one("categories", "name", None), r"categories\[1\]\.name"),
    (one("categories", "id", 1), r"categories\[1\]\.id is 1, as is categories\[0\]"),
    (one("annotations", "segmentation", [[1, 2, 3, 4, 5, 6, 7]]), "odd number of coordinates"),
    (one("annotations", "segmentation", [1, 2, 3, 4, 5, 6]), "not a list of polygons"),
    (one("annotations", "segmentation", [[1, 2, 3, 4, 5, "6"]]), "not a finite number"),
    (one("annotations", "segmentation", [[1e9, 2, 3, 4, 5, 6]]), "far outside"),
    (one("annotations", "segmentation", {"size": [80, 121], "counts": [9680]}), "mask of 121 x 80"),
    (one("annotations", "segmentation", {"size": [80, 120], "counts": [9599]}), "9,599 pixels"),
    (one("annotations", "segmentation", {"size": [80, 120], "counts": "\n!"}), "no run lengths"),
    (one("annotations", "segmentation", {"size": [80, 120], "counts": [9600, -5, 5]}), "no run lengths"),
    (one("annotations", "segmentation", {"counts": [9600]}), "without a 'size'"),
    *((lambda d, r, k=key: d.update({k: None}), f"'{key}' is null") for key in ("images", "annotations", "categories")),
    *((lambda d, r, k=key: d.update({k: [3]}), rf"{key}\[0\] is 3") for key in ("images", "annotations", "categories")),
    (lambda d, r: d.pop("annotations"), "has no 'annotations'"),
    (lambda d, r: d.update(annotations=[]), "nothing to evaluate"),
    (every("annotations", "image_id", 99), "no annotation is of an image"),
    *((row("score", value), r"\[1\]\.score is .* \(image_id 10\)") for value in (None, "0.5", float("nan"), True)),
    *((row("bbox", value), r"\[1\]\.bbox") for value in (None, [1, 2, 3], [1, 2, float("inf"), 3], [1, 2, -3, 4])),
    *((row("image_id", value), r"\[1\]\.image_id") for value in (None, 99, "10", True, {})),
    *((row("category_id", value), r"\[1\]\.category_id") for value in (None, 99, "4", [])),
    *((row("segmentation", value), r"\[1\]\.segmentation") for value in (None, [], {"size": [1, 1], "counts": [1]})),
    (lambda d, r: r.__setitem__(1, 5), r"\[1\] is 5, it should be an object"),
]


@pytest.mark.parametrize(("change", "sentence"), REFUSED)
def test_what_cannot_be_right_is_refused_with_file_place_and_field(
    tmp_path: Path, change: Change, sentence: str
) -> None:
    with pytest.raises(ZooError, match=sentence) as caught:
        evaluate(tmp_path, change)
    assert ".json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_first_three_problems_are_told_and_how_many_more(tmp_path: Path) -> None:
    with pytest.raises(ZooError, match=r"annotations\[0\].*annotations\[1\].*annotations\[2\].*; and 4 more\."):
        evaluate(tmp_path, every("annotations", "bbox", None))


@pytest.mark.parametrize("value", [None, [], [[]], [[1, 2]], [[1, 2, 3, 4]]])
def test_objects_without_a_mask_matter_for_masks_only(tmp_path: Path, value: Any) -> None:
    change = every("annotations", "segmentation", value)
    boxes = evaluate(tmp_path, measures=("box",))
    assert evaluate(tmp_path, change, measures=("box",)) == boxes
    with pytest.raises(ZooError, match="7 of 7 objects have no mask"):
        evaluate(tmp_path, change)
    with pytest.raises(ZooError, match="1 of 7 objects have no mask"):
        evaluate(tmp_path, one("annotations", "segmentation", value))


def test_a_missing_area_is_that_of_the_mask_not_of_the_box(tmp_path: Path) -> None:
    def triangles(document: dict[str, Any], rows: list[dict[str, Any]]) -> None:
        for annotation in document["annotations"]:
            x, y, w, h = annotation["bbox"]
            annotation["segmentation"] = [[x, y, x + w, y, x, y + h]]
            annotation["area"] = w * h / 2

    def arealess(document: dict[str, Any], rows: list[dict[str, Any]]) -> None:
        triangles(document, rows)
        without("annotations", "area")(document, rows)

    assert evaluate(tmp_path, arealess) == evaluate(tmp_path, triangles)


def test_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    clean = evaluate(tmp_path)
    for encoding in ("utf-8-sig", "utf-16"):
        for path in (tmp_path / "data" / "annotations" / "instances_val2017.json", tmp_path / "predictions.json"):
            path.write_text(path.read_bytes().decode("utf-8" if encoding == "utf-8-sig" else "utf-8-sig"), encoding)
        config = MetricConfig(measures=("box", "mask"), predictions=True)
        dataset = open_dataset("coco_2017", tmp_path / "data", config)
        assert evaluate_file(dataset, tmp_path / "predictions.json", config).metrics == clean


def replace_image(root: Path, make: Callable[[Path], object]) -> None:
    """Another file in place of an image."""
    evaluate(root)
    path = root / "data" / "val2017" / "000002.jpg"
    make(path)


def rotated(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(path).save(path, exif=exif)


IMAGES: list[tuple[Callable[[Path], object], str]] = [
    (lambda p: cv2.imwrite(str(p), cv2.imread(str(p))[::2, ::2]), "000002.jpg is read as 48 x 64"),
    (rotated, "000002.jpg is read as 128 x 96"),
    (lambda p: p.write_bytes(p.read_bytes()[:-400]), "000002.jpg: the file ends before the image does"),
    (lambda p: p.write_bytes(b"no image"), "000002.jpg: does not decode"),
    (lambda p: (p.unlink(), os.mkfifo(p)), "000002.jpg: is not a regular file"),
]


@pytest.mark.parametrize(("make", "sentence"), IMAGES)
def test_an_image_that_is_not_the_annotated_one_is_named(
    tmp_path: Path, make: Callable[[Path], object], sentence: str
) -> None:
    replace_image(tmp_path, make)
    with pytest.raises(ZooError, match=sentence):
        evaluate(tmp_path)


def test_images_need_not_be_there_to_evaluate_predictions(tmp_path: Path) -> None:
    clean = evaluate(tmp_path)
    shutil.rmtree(tmp_path / "data" / "val2017")
    assert evaluate(tmp_path) == clean


def test_boxes_beside_an_image_whose_size_is_not_annotated_are_refused(tmp_path: Path) -> None:
    replace_image(tmp_path, lambda p: cv2.imwrite(str(p), cv2.imread(str(p))[::2, ::2]))
    with pytest.raises(ZooError, match=r"bbox lies outside 000002\.jpg, which is 48 x 64"):
        evaluate(tmp_path, SAME["sizes that are missing"], measures=("box",))


def test_the_command_stores_a_record_with_the_hash_and_a_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_RESULTS", str(tmp_path / "results.db"))
    evaluate(tmp_path)
    command = ["accuracy", "--predictions", str(tmp_path / "predictions.json"), "--data", str(tmp_path / "data")]
    assert main.main([*command, "--measure", "box", "--as", "theirs", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["model"] == "theirs"
    assert record["parameters"]["weights"] == "predictions"
    assert len(record["parameters"]["sha256"]) == 64
    assert record["parameters"]["images"] == 4
    assert main.main([*command, "yolox"]) == 2
    assert "--as" in capsys.readouterr().err


def test_nothing_detected_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_RESULTS", str(tmp_path / "results.db"))
    (tmp_path / "none.json").write_text("[]")
    assert main.main(["accuracy", "--predictions", str(tmp_path / "none.json"), "--data", str(TINY), "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["metrics"]["box_ap"] == 0
    assert "has no detection in any of the images" in captured.err


def test_a_class_that_the_file_lacks_is_left_out_only_on_request(tmp_path: Path) -> None:
    def change(document: dict[str, Any], rows: list[dict[str, Any]]) -> None:
        document["categories"] = [row for row in document["categories"] if row["id"] != 7]
        document["annotations"] = [row for row in document["annotations"] if row["category_id"] != 7]

    with pytest.raises(ZooError, match="category_id is 7, which the annotations do not list"):
        evaluate(tmp_path, change)
    assert evaluate(tmp_path, change, present_classes=True)["box_ap"] > 0


def test_proposals_need_no_class_and_have_both_recalls(tmp_path: Path) -> None:
    def classless(document: dict[str, Any], rows: list[dict[str, Any]]) -> None:
        for one_row in rows:
            del one_row["category_id"]

    request = {"measures": ("proposal",), "protocol": "mmdet-v2"}
    numbers = evaluate(tmp_path, classless, **request)
    assert numbers == evaluate(tmp_path, **request)
    assert 0 < numbers["ar_1000"] <= numbers["greedy_ar_1000"] + 0.1


def keypoint_files(root: Path, change: Callable[[list[dict[str, Any]]], object]) -> tuple[Path, MetricConfig]:
    """The true keypoints as detections, changed."""
    document = json.loads((TINY / "annotations" / "person_keypoints_val2017.json").read_text())
    rows = [
        {key: annotation[key] for key in ("image_id", "category_id", "bbox", "keypoints")} | {"score": 0.9 - 0.1 * n}
        for n, annotation in enumerate(document["annotations"])
    ]
    change(rows)
    (root / "predictions.json").write_text(json.dumps(rows))
    return root / "predictions.json", MetricConfig(measures=("box", "keypoint"), predictions=True)


def test_keypoints_of_any_network_are_evaluated(tmp_path: Path) -> None:
    path, config = keypoint_files(tmp_path, lambda rows: None)
    numbers = evaluate_file(open_dataset("coco_2017_keypoints", TINY, config), path, config).metrics
    assert numbers["keypoint_ap"] == numbers["box_ap"] == pytest.approx(1)


@pytest.mark.parametrize("value", [None, [1, 2, 3], [0] * 50 + ["1"]])
def test_keypoints_that_are_not_a_persons_are_refused(tmp_path: Path, value: Any) -> None:
    path, config = keypoint_files(tmp_path, lambda rows: rows[1].update(keypoints=value))
    with pytest.raises(ZooError, match=r"\[1\]\.keypoints is .* person's 17 keypoints"):
        evaluate_file(open_dataset("coco_2017_keypoints", TINY, config), path, config)
