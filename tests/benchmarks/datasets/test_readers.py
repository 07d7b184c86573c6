"""Every dataset from the files up: what is in the tiny folders, found completely and in part, with the APs by hand."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.accuracy.measure import write_results
from benchmarks.cli import main
from benchmarks.datasets import resampling
from benchmarks.datasets.catalog import DATASETS, open_dataset, spec
from benchmarks.datasets.check import check
from benchmarks.datasets.dataset import Dataset
from benchmarks.datasets.files import DatasetError
from benchmarks.datasets.predictions import Predictions, compact
from benchmarks.datasets.request import MetricConfig
from benchmarks.datasets.results_file import evaluate_file
from tests.data.scenes import SCENES, Scene
from zoo.coco_format.image_files import image_size
from zoo.errors import UsageError, ZooError
from zoo.manifest import api
from zoo.preprocessing.preprocess import read_image
from zoo.structures import Detections

DATA = Path(__file__).parents[2] / "data"
FOLDERS = {
    "coco_2017": "coco",
    "coco_2017_person": "coco",
    "coco_2017_person_bicycle_car": "coco",
    "coco_2017_keypoints": "coco",
    "coco_2017_panoptic": "coco_panoptic",
    "lvis_v1": "lvis_v1",
    "lvis_v0.5": "lvis_v0.5",
    "objects365_v1": "objects365_v1",
    "objects365_v2": "objects365_v2",
    "deepfashion_inshop": "deepfashion_inshop",
    "voc_0712": "VOCdevkit",
    "voc_2012": "VOCdevkit",
    "cityscapes": "cityscapes",
    "openimages_v6": "openimages_v6",
    "openimages_challenge_2019": "openimages_challenge_2019",
    "wider_face": "wider_face",
    "crowdhuman": "crowdhuman",
}
CITY_CLASSES = ("person", "bicycle", "car")


def detections(scene: Scene, skip: Sequence[int] = (), labels: Sequence[int] = (0, 1, 2)) -> Detections:
    """A scene's things as a perfect model would find them, except those numbered in `skip`; labels: by class."""
    things = [thing for number, thing in enumerate(scene.things) if number not in skip]
    width, height = scene.size
    masks = torch.zeros((len(things), height, width), dtype=torch.bool)
    panoptic = torch.full((height, width), 3)
    for number, (mask, thing) in enumerate(zip(masks, things), 1):
        x, y, w, h = thing.box
        mask[y : y + h, x : x + w] = True
        panoptic[mask] = thing.label + (1000 * number if thing.label < 2 else 0)
    boxes = torch.tensor([[x, y, x + w, y + h] for _, (x, y, w, h), _ in things], dtype=torch.float32).reshape(-1, 4)
    scores = 0.9 - 0.1 * torch.arange(len(things), dtype=torch.float32)
    return Detections(boxes, scores, torch.tensor([labels[t.label] for t in things]).long(), masks, panoptic)


def perfect(
    dataset: Dataset, labels: Sequence[int] = (0, 1, 2), skip: Sequence[int] = ()
) -> dict[int | str, Predictions]:
    """Everything in every image, except the things numbered in `skip`."""
    scenes = ((p.id, next(scene for scene in SCENES if scene.name in p.path.name)) for p in dataset.images)
    return {image_id: compact(detections(scene, skip, labels)) for image_id, scene in scenes}


def tiny(name: str, **request: object) -> Dataset:
    """A tiny dataset."""
    return open_dataset(name, DATA / FOLDERS[name], MetricConfig(**request))  # type: ignore[arg-type]


def test_every_data_set_has_a_tiny_folder_in_its_layout() -> None:
    assert set(DATASETS) - {"demo"} == set(FOLDERS)  # the demonstration's is generated


@pytest.mark.parametrize("name", ["objects365_v1", "objects365_v2", "deepfashion_inshop", "lvis_v0.5"])
def test_what_has_cocos_or_lvis_layout_is_evaluated_from_the_files_up(name: str) -> None:
    dataset = tiny(name, measures=("box", "mask"))
    numbers = dataset.evaluate(perfect(dataset))
    assert numbers["box_ap"] == numbers["mask_ap"] == pytest.approx(1)
    assert dataset.evaluate(perfect(dataset, skip=[0]))["box_ap"] < 0.9


def test_persons_alone_are_evaluated_among_all_classes() -> None:
    for name in ("coco_2017_person", "coco_2017_keypoints"):
        dataset = tiny(name, classes=("person",))
        assert dataset.classes == ("person",)
        numbers = dataset.evaluate({image_id: only(one, 0) for image_id, one in perfect(dataset).items()})
        assert numbers["box_ap"] == pytest.approx(1)


def only(predictions: Predictions, label: int) -> Predictions:
    """What was found of one class."""
    kept = predictions.labels == label
    return Predictions(predictions.boxes[kept], predictions.scores[kept], predictions.labels[kept])


def test_open_images_boxes_follow_a_image_that_its_exif_entry_turns(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    Image.new("RGB", (40, 20)).save(tmp_path / "lying.jpg", exif=exif)
    assert image_size(tmp_path / "lying.jpg") == read_image(tmp_path / "lying.jpg").shape[1::-1] == (20, 40)


def test_lvis_finds_images_in_both_folders_of_coco_and_ignores_what_was_not_looked_for() -> None:
    dataset = tiny("lvis_v1", measures=("box", "mask"))
    predictions = perfect(dataset)
    assert {p.path.parent.name for p in dataset.images} == {"train2017", "val2017"}
    extra = Predictions(np.array([[0, 0, 9, 9]], np.float32), np.array([1.0], np.float32), np.array([1]))
    numbers = dataset.evaluate(predictions)
    assert numbers["box_ap"] == numbers["mask_ap"] == pytest.approx(1)
    # In the image with id 3 nobody looked for class 1, so a detection there is not wrong.
    assert dataset.evaluate(predictions | {3: extra})["box_ap_common"] == pytest.approx(1)


def test_voc_counts_from_1_ignores_difficult_objects_and_has_both_rules() -> None:
    labels = (14, 1, 6)
    dataset = tiny("voc_0712")
    assert dataset.evaluate(perfect(dataset, labels))["map_50"] == pytest.approx(1)
    numbers = dataset.evaluate(perfect(dataset, labels, skip=[1]))
    # Missed: a bicycle of two and a person of three; the car in the last image is difficult and does not count.
    assert numbers["map_50_area"] == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert numbers["map_50_11_points"] == pytest.approx((7 / 11 + 6 / 11 + 1) / 3)
    assert numbers["map_50"] == numbers["map_50_11_points"]


def test_cityscapes_gives_coco_ap_and_its_own_and_takes_groups_for_crowds() -> None:
    dataset = tiny("cityscapes", classes=CITY_CLASSES, measures=("box", "mask"))
    assert list(dataset.category_ids) == [24, 33, 26]  # by name, in the model's order
    numbers = dataset.evaluate(perfect(dataset))
    assert numbers["box_ap"] == numbers["mask_ap"] == numbers["instance_ap"] == pytest.approx(1)
    missed = dataset.evaluate(perfect(dataset, skip=[0]))
    # Missed: a person of three, one car of one (the other is a group) and a bicycle of two.
    assert missed["instance_ap_50"] == pytest.approx((2 / 3 + 0 + 1 / 2) / 3)


@pytest.mark.parametrize("name", ["openimages_v6", "openimages_challenge_2019"])
def test_open_images_has_a_hierarchy_groups_and_verified_labels(name: str) -> None:
    dataset = tiny(name)
    assert dataset.classes == ("Person", "Bicycle", "Car", "Vehicle")
    assert dataset.evaluate(perfect(dataset)) == {"map_50": pytest.approx(1)}
    half = perfect(dataset, skip=[1])
    # Person 2 of 3; bicycle 1 of 2; car 1 of 2 (the group is missed); so vehicle 2 of 4, two of each kind.
    assert dataset.evaluate(half)["map_50"] == pytest.approx((2 / 3 + 1 / 2 + 1 / 2 + 2 / 4) / 4)
    wrong = half["000001"]
    car = Predictions(wrong.boxes, wrong.scores + 0.5, np.array([2]))
    # A car where people said that there is none is wrong, as a car and as a vehicle ...
    assert dataset.evaluate(half | {"000001": car})["map_50"] < 0.5
    person = half["000004"]
    unknown = Predictions(person.boxes, person.scores, np.array([0]))
    # ... a person where nobody looked for one counts for nothing, only the bicycle and with it a vehicle is missed.
    expected = (2 / 3 + 0 + 1 / 2 + 1 / 4) / 4
    assert dataset.evaluate(half | {"000004": unknown})["map_50"] == pytest.approx(expected)


def test_wider_face_ignores_faces_outside_the_subset() -> None:
    dataset = tiny("wider_face")
    predictions = perfect(dataset, labels=(0, 0, 0))
    assert dataset.evaluate(predictions) == {f"ap_{subset}": pytest.approx(1) for subset in ("easy", "medium", "hard")}
    # The first thing of each image: two persons, so one easy face of three is missing; medium has five, hard seven.
    numbers = dataset.evaluate(perfect(dataset, labels=(0, 0, 0), skip=[1]))
    assert numbers["ap_easy"] == pytest.approx(2 / 3)
    assert numbers["ap_medium"] == pytest.approx(3 / 5)
    assert numbers["ap_hard"] == pytest.approx(4 / 7)


def test_crowdhuman_leaves_ignored_persons_out_of_ap_miss_rate_and_jaccard_index() -> None:
    dataset = tiny("crowdhuman", classes=("person",))
    everything = dataset.evaluate(perfect(dataset, labels=(0, 0, 0)))
    # The curve begins at the best detection, so a perfect model of six persons has 1 - 1/6.
    assert everything == {"ap_50": pytest.approx(5 / 6), "miss_rate": 0, "jaccard_index": pytest.approx(1, abs=1e-5)}
    numbers = dataset.evaluate(perfect(dataset, labels=(0, 0, 0), skip=[1]))
    # Missed: a person of two and one of three; what the last image lacks is to be ignored.
    assert numbers["ap_50"] == pytest.approx(3 / 6)
    assert numbers["miss_rate"] == pytest.approx(2 / 6)
    assert numbers["jaccard_index"] == pytest.approx((1 / 2 + 2 / 3 + 1) / 3, abs=1e-5)


def test_crowdhuman_is_for_models_of_persons() -> None:
    with pytest.raises(DatasetError, match="one class, person; the model knows face"):
        tiny("crowdhuman", classes=("face",))


def test_crowdhuman_takes_sizes_from_mmdetections_file_where_images_are_missing(tmp_path: Path) -> None:
    root = tmp_path / "data"
    shutil.copytree(DATA / "crowdhuman", root)
    predictions = perfect(tiny("crowdhuman"), labels=(0, 0, 0))
    (root / "Images" / "000001.jpg").unlink()
    with pytest.raises(DatasetError, match=r"000001\.jpg does not exist, so its size"):
        open_dataset("crowdhuman", root).evaluate(predictions)
    (root / "id_hw_val.json").write_text('{"000001": [80, 120]}')
    assert open_dataset("crowdhuman", root).evaluate(predictions)["ap_50"] == pytest.approx(5 / 6)
    (root / "id_hw_val.json").write_text('{"000001": 80}')
    with pytest.raises(DatasetError, match="is not an object of"):
        open_dataset("crowdhuman", root)


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


@pytest.mark.parametrize("name", FOLDERS)
def test_every_number_of_every_dataset_has_replicates(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "REPLICATES", 30)
    measures = tuple(measure for measure in spec(name).measures if measure not in ("keypoint", "proposal"))
    classes = {"wider_face": ("face",), "crowdhuman": ("person",)}.get(name)
    dataset = tiny(name, measures=measures, **({"classes": classes} if classes else {}))
    found = {i: only(one, 0) for i, one in perfect(dataset).items()} if classes else perfect(dataset, skip=[0])
    numbers, drawn = dataset.evaluate(found), dataset.resample(found)
    assert drawn.all_images == pytest.approx(numbers, abs=1e-9)
    known = {metric for metric, value in numbers.items() if value >= 0}
    assert known <= set(drawn.replicates) and all(len(values) == 30 for values in drawn.replicates.values())
    assert dataset.resample(found).parameters == drawn.parameters


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


@pytest.mark.parametrize("name", FOLDERS)
def test_every_missing_file_is_named(name: str, tmp_path: Path) -> None:
    """Whichever file or folder of the layout is taken away, the check says so and names it."""
    one = spec(name)
    for path in one.with_split(one.layout):
        if "*" in path or "CITY" in path:
            continue
        root = tmp_path / path.replace("/", "_")
        shutil.copytree(DATA / FOLDERS[name], root)
        for expanded in ("easy", "medium", "hard"):
            gone = root / path.replace("{easy,medium,hard}", expanded).rstrip("/")
        if gone.is_dir():
            shutil.rmtree(gone)
        else:
            gone.unlink()
        problems = check(one, root)["problems"]
        assert any(gone.name in problem for problem in problems), path


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("voc_0712", "VOC2007/Annotations/000001.xml"),
        ("cityscapes", "gtFine/val/aachen/aachen_000001_000019_gtFine_instanceIds.png"),
        ("coco_2017_panoptic", "annotations/panoptic_val2017/000001.png"),
    ],
)
def test_a_check_finds_the_one_annotation_file_that_is_missing(name: str, file: str, tmp_path: Path) -> None:
    shutil.copytree(DATA / FOLDERS[name], tmp_path / "data")
    (tmp_path / "data" / file).unlink()
    assert check(spec(name), tmp_path / "data")["problems"] == [f"{tmp_path / 'data' / file} does not exist."]


@pytest.mark.parametrize("name", FOLDERS)
def test_the_tiny_folders_are_complete(name: str) -> None:
    assert check(spec(name), DATA / FOLDERS[name])["problems"] == []


def test_objects365_finds_images_by_the_end_of_their_names(tmp_path: Path) -> None:
    ground_truth = json.loads((DATA / "coco" / "annotations" / "instances_val2017.json").read_text())
    ground_truth["categories"].reverse()
    for image in ground_truth["images"]:
        image["file_name"] = f"images/v2/patch1/{image['file_name']}"
    ground_truth["images"][0]["file_name"] = "images/v1/patch6/objects365_v1_00320532.jpg"
    (tmp_path / "annotations").mkdir()
    for name in ("zhiyuan_objv2_val.json", "objects365_val.json"):
        (tmp_path / "annotations" / name).write_text(json.dumps(ground_truth))
    shutil.copytree(DATA / "coco" / "val2017", tmp_path / "val" / "patch1")
    second = check(spec("objects365_v2"), tmp_path)
    assert second == second | {"images": 3, "problems": []}
    assert open_dataset("objects365_v1", tmp_path).classes == ("person", "bicycle", "car")


@pytest.mark.parametrize(
    ("name", "file", "content"),
    [
        ("voc_0712", "VOC2007/Annotations/000001.xml", "<annotation>"),
        ("openimages_v6", "annotations/validation-annotations-bbox.csv", "ImageID,LabelName\n1,/m/car"),
        ("openimages_v6", "annotations/bbox_labels_600_hierarchy.json", "{"),
        ("openimages_challenge_2019", "challenge2019/challenge-2019-validation-detection-bbox.txt", "a.jpg\n0\n7\n"),
        ("openimages_challenge_2019", "challenge2019/class_label_tree.np", "no array"),
        ("wider_face", "eval_tools/ground_truth/wider_easy_val.mat", "no mat"),
        ("crowdhuman", "annotation_val.odgt", "no JSON"),
        ("cityscapes", "gtFine/val/aachen/aachen_000001_000019_gtFine_instanceIds.png", "no image"),
        ("coco_2017_panoptic", "annotations/panoptic_val2017/000001.png", "no image"),
        ("lvis_v1", "annotations/lvis_v1_val.json", '{"images": []}'),
    ],
)
def test_a_broken_file_is_one_sentence_with_its_name(name: str, file: str, content: str, tmp_path: Path) -> None:
    root = tmp_path / "data"
    shutil.copytree(DATA / FOLDERS[name], root)
    (root / file).write_text(content)
    measures = ("panoptic",) if "panoptic" in name else ("box",)
    with pytest.raises(ZooError, match=Path(file).name):
        dataset = open_dataset(name, root, MetricConfig(measures=measures))
        dataset.evaluate(perfect(dataset))


OI, CHALLENGE = "openimages_v6", "openimages_challenge_2019"
CLASSES, BOXES = "annotations/class-descriptions-boxable.csv", "annotations/validation-annotations-bbox.csv"
HIERARCHY = "annotations/bbox_labels_600_hierarchy.json"
LABELS = "annotations/validation-annotations-human-imagelabels-boxable.csv"
CHALLENGE_CLASSES = "challenge2019/cls-label-description.csv"
CHALLENGE_BOXES = "challenge2019/challenge-2019-validation-detection-bbox.txt"
ODGT = "annotation_val.odgt"
XML = "VOC2007/Annotations/000001.xml"


@pytest.mark.parametrize(
    ("name", "file", "old", "new", "sentence"),
    [
        (OI, CLASSES, "/m/car,Car", "/m/car", "line 3: .*not a code and a name"),
        (OI, CLASSES, "/m/car,Car", "/m/person,Car", "line 3: .*occurred before"),
        (OI, BOXES, "IsGroupOf", "Group", "line 1: there is no column IsGroupOf"),
        (
            OI,
            BOXES,
            "xclick,/m/bicycle,1,0.5,0.916667,0.25,0.875,0,0,0,0,0",
            "xclick",
            "line 3: 2 cells, the header has 13",
        ),
        (OI, BOXES, "0.916667", "", "line 3: .*are not left, top, right and bottom"),
        (OI, BOXES, "0.916667", "nan", "line 3: .*are not left, top, right and bottom"),
        (OI, BOXES, "0.916667", "110", "line 3: .*shares of width and height"),
        (OI, BOXES, "/m/bicycle", "/m/bike", 'line 3: "/m/bike" is none of the classes'),
        (OI, LABELS, "/m/car,0", "", "line 2: 3 cells, the header has 4"),
        (OI, LABELS, "/m/car,0", "/m/cart,0", "line 2: .*none of the classes"),
        (OI, HIERARCHY, None, "[]", "has no list of subcategories"),
        (OI, HIERARCHY, None, '{"Subcategory": {}}', "has no list of subcategories"),
        (OI, HIERARCHY, None, '{"Subcategory": ["/m/car"]}', "has no list of subcategories"),
        (OI, HIERARCHY, None, '{"Subcategory": [{"LabelName": "/m/boat"}]}', "is none of them"),
        (CHALLENGE, CHALLENGE_CLASSES, "Car,3", "Car", "line 3: .*not a code, a name and a number"),
        (CHALLENGE, CHALLENGE_CLASSES, "Car,3", "Car,x", "line 3: .*not a code, a name and a number"),
        (CHALLENGE, CHALLENGE_CLASSES, "Car,3", "Car,7", "are not 1 to 4"),
        (CHALLENGE, CHALLENGE_BOXES, "1 0.066667", "9 0.066667", "line 4: .*not a label from 1 to 4"),
        (CHALLENGE, CHALLENGE_BOXES, "0.4 0.475 0", "0.4", "line 4: .*not a label from 1 to 4"),
        (CHALLENGE, CHALLENGE_BOXES, "validation/000002.jpg", "", "line 6: .* is not an image"),
        ("crowdhuman", ODGT, '"ID": "000002"', '"ID": "000001"', "line 2: .*'000001' is not a new name of an image"),
        ("crowdhuman", ODGT, '"gtboxes"', '"boxes"', "line 1: .*there is no 'gtboxes'"),
        ("crowdhuman", ODGT, "40, 30", "-40, 30", "line 1: .*is not x, y, width and height"),
        ("crowdhuman", ODGT, None, "", "lists no images"),
        ("voc_0712", XML, "<xmin>9</xmin>", "<xmin>inf</xmin>", "<bndbox/xmin> of a person is 'inf', not a number"),
        ("voc_0712", XML, "<xmin>9</xmin>", "", "<bndbox/xmin> of a person is '', not a number"),
        ("voc_0712", XML, "<xmin>9</xmin>", "<xmin>90</xmin>", "object 1 has a box that ends before it begins"),
        ("voc_0712", XML, "<difficult>0", "<difficult>no", "<difficult> of a person is 'no', not a number"),
        (
            "voc_0712",
            XML,
            "<annotation>",
            "<annotation><size><width>80</width><height>120</height></size>",
            "is for an image of 80 x 120 pixels, 000001.jpg has 120 x 80",
        ),
    ],
)
def test_a_row_that_does_not_fit_is_one_sentence_with_file_and_line(
    name: str, file: str, old: str | None, new: str, sentence: str, tmp_path: Path
) -> None:
    root = tmp_path / "data"
    shutil.copytree(DATA / FOLDERS[name], root)
    text = (root / file).read_text()
    (root / file).write_text(new if old is None else text.replace(old, new, 1))
    with pytest.raises(DatasetError, match=sentence) as caught:
        open_dataset(name, root)
    assert str(root / file) in str(caught.value)


def test_blank_lines_in_tables_do_not_matter(tmp_path: Path) -> None:
    root = tmp_path / "data"
    shutil.copytree(DATA / "openimages_v6", root)
    for file in (CLASSES, BOXES, LABELS):
        (root / file).write_text((root / file).read_text().replace("\n", "\n\n") + "\n")
    dataset = open_dataset("openimages_v6", root)
    assert dataset.evaluate(perfect(dataset)) == {"map_50": pytest.approx(1)}


def test_open_images_labels_go_to_classes_by_name() -> None:
    dataset = tiny("openimages_v6", classes=("Vehicle", "Car", "Bicycle", "Person"))
    assert dataset.evaluate(perfect(dataset, labels=(3, 2, 1))) == {"map_50": pytest.approx(1)}
    with pytest.raises(DatasetError, match="has other classes than the model"):
        tiny("openimages_v6", classes=("Vehicle", "Car", "Bicycle", "Human"))


def test_voc_folders_of_other_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="has no object of the model's classes: zebra"):
        tiny("voc_0712", classes=("zebra",))


def test_a_map_of_instances_with_three_channels_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "data"
    shutil.copytree(DATA / "cityscapes", root)
    path = root / "gtFine" / "val" / "aachen" / "aachen_000001_000019_gtFine_instanceIds.png"
    Image.new("RGB", Image.open(path).size).save(path)
    with pytest.raises(DatasetError, match="is of kind RGB; instance ids are a gray image of 16 bits"):
        open_dataset("cityscapes", root)


def test_wider_face_is_for_models_of_faces() -> None:
    with pytest.raises(DatasetError, match="one class, face; the model knows person"):
        tiny("wider_face", classes=("person",))


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


@pytest.mark.parametrize("name", ["voc_0712", "cityscapes", "openimages_v6", "wider_face", "lvis_v1"])
def test_results_that_were_written_give_the_same_numbers_when_they_are_read(name: str, tmp_path: Path) -> None:
    measures = ("box", "mask") if name in ("cityscapes", "lvis_v1") else ("box",)
    dataset = tiny(name, measures=measures)
    labels = (0, 0, 0) if name == "wider_face" else (0, 1, 2)
    predictions = perfect(dataset, labels=labels, skip=[1])
    write_results(dataset, predictions, tmp_path / "out.json")
    config = MetricConfig(measures=measures, predictions=True)
    opened = open_dataset(name, DATA / FOLDERS[name], config)
    scored = evaluate_file(opened, tmp_path / "out.json", config)
    assert scored.metrics == pytest.approx(dataset.evaluate(predictions), abs=1e-12)


def test_every_data_set_of_the_manifests_can_be_evaluated() -> None:
    assert set(api.catalog().datasets) <= set(DATASETS)


def test_every_published_number_belongs_to_a_data_set_and_split_that_we_evaluate() -> None:
    entries = [api.get(name) for name in api.list_models()]
    apart = [e.name for e in entries if e.metrics and spec(e.dataset).published not in e.metrics]
    assert apart == []


def test_a_measure_that_a_data_set_does_not_have_is_refused() -> None:
    with pytest.raises(UsageError, match="voc_0712 cannot evaluate 'mask', only box"):
        tiny("voc_0712", measures=("mask",))


def test_bench_datasets_lists_describes_and_checks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["datasets", "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == list(DATASETS)
    assert main.main(["datasets", "voc_0712"]) == 0
    assert "VOC2007/ImageSets/Main/test.txt" in capsys.readouterr().out
    assert main.main(["datasets", "coco_2017", "--check", str(DATA / "coco")]) == 0
    assert main.main(["datasets", "coco_2017", "--check", str(DATA / "lvis_v1"), "--json"]) == 1
    assert main.main(["datasets", "nothing"]) == 2
