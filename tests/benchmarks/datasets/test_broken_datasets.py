"""Folders and files that are incomplete or wrong: each is one sentence that names the file."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.datasets.catalog import open_dataset, spec
from benchmarks.datasets.check import check
from benchmarks.datasets.files import DatasetError
from benchmarks.datasets.request import MetricConfig
from tests.benchmarks.datasets.tiny import DATA, FOLDERS, perfect, tiny
from zoo.errors import ZooError

XML = "VOC2007/Annotations/000001.xml"
INSTANCES = "gtFine/val/aachen/aachen_000001_000019_gtFine_instanceIds.png"
SEGMENTS = "annotations/panoptic_val2017/000001.png"


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
        ("voc_0712", XML),
        ("cityscapes", INSTANCES),
        ("coco_2017_panoptic", SEGMENTS),
    ],
)
def test_a_check_finds_the_one_annotation_file_that_is_missing(name: str, file: str, tmp_path: Path) -> None:
    shutil.copytree(DATA / FOLDERS[name], tmp_path / "data")
    (tmp_path / "data" / file).unlink()
    assert check(spec(name), tmp_path / "data")["problems"] == [f"{tmp_path / 'data' / file} does not exist."]


@pytest.mark.parametrize("name", FOLDERS)
def test_the_tiny_folders_are_complete(name: str) -> None:
    assert check(spec(name), DATA / FOLDERS[name])["problems"] == []


@pytest.mark.parametrize(
    ("name", "file", "content"),
    [
        ("voc_0712", XML, "<annotation>"),
        ("openimages_v6", "annotations/validation-annotations-bbox.csv", "ImageID,LabelName\n1,/m/car"),
        ("openimages_v6", "annotations/bbox_labels_600_hierarchy.json", "{"),
        ("openimages_challenge_2019", "challenge2019/challenge-2019-validation-detection-bbox.txt", "a.jpg\n0\n7\n"),
        ("openimages_challenge_2019", "challenge2019/class_label_tree.np", "no array"),
        ("wider_face", "eval_tools/ground_truth/wider_easy_val.mat", "no mat"),
        ("crowdhuman", "annotation_val.odgt", "no JSON"),
        ("cityscapes", INSTANCES, "no image"),
        ("coco_2017_panoptic", SEGMENTS, "no image"),
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
    path = root / INSTANCES
    Image.new("RGB", Image.open(path).size).save(path)
    with pytest.raises(DatasetError, match="is of kind RGB; instance ids are a gray image of 16 bits"):
        open_dataset("cityscapes", root)


def test_wider_face_is_for_models_of_faces() -> None:
    with pytest.raises(DatasetError, match="one class, face; the model knows person"):
        tiny("wider_face", classes=("person",))
