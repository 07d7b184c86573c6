"""`zoo convert-data`: what the formats share comes back the same; what one lacks is said, and nothing is guessed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from benchmarks.datasets.voc import read_objects
from zoo.cli import main
from zoo.coco_format.annotations import read_annotations

SIZES = {"a/street.jpg": (120, 160), "b.png": (90, 50), "empty.jpg": (30, 40)}
BOXES = [  # image, category, box, crowd
    ("a/street.jpg", "person", [10, 20, 30, 40], 0),
    ("a/street.jpg", "car", [0, 0, 160, 120], 0),
    ("b.png", "car", [5, 6, 7, 8], 1),
    ("b.png", "person", [49, 89, 1, 1], 0),
]
CLASSES = ["person", "bicycle", "car"]


@pytest.fixture
def coco(tmp_path) -> Path:
    """A small dataset with images in folders, a class without objects, a crowd, and an image without objects."""
    for name, (height, width) in SIZES.items():
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "images" / name), np.zeros((height, width, 3), np.uint8))
    images = [
        {"id": 7 + number, "file_name": name, "height": size[0], "width": size[1]}
        for number, (name, size) in enumerate(SIZES.items())
    ]
    ids = {image["file_name"]: image["id"] for image in images}
    categories = [{"id": 10 * number, "name": name} for number, name in enumerate(CLASSES, 1)]
    annotations = [
        {"id": number, "image_id": ids[image], "category_id": 10 * (CLASSES.index(name) + 1), "bbox": box}
        | {"iscrowd": crowd, "area": box[2] * box[3]}
        for number, (image, name, box, crowd) in enumerate(BOXES)
    ]
    path = tmp_path / "instances.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


def convert(*arguments: object) -> int:
    return main.main(["convert-data", *map(str, arguments)])


def boxes_of(path: Path) -> list[tuple]:
    """(image, class, box, crowd) of every annotation."""
    data = read_annotations(path)
    return [
        (data.images[one.image].file_name, data.categories[one.category].name, one.bbox, one.iscrowd)
        for one in data.objects
    ]


def test_coco_to_yolo_and_back_keeps_all_but_crowds(coco, tmp_path, capsys):
    assert convert(coco, "--to", "yolo", "--out", tmp_path / "yolo") == 0
    assert "1 crowds or difficult objects are left out" in capsys.readouterr().err
    assert (tmp_path / "yolo" / "labels" / "a" / "street.txt").read_text().splitlines()[0] == "0 0.15625 " + (
        "0.33333333 0.1875 0.33333333"
    )
    assert (tmp_path / "yolo" / "labels" / "empty.txt").read_text() == ""
    names = yaml.safe_load((tmp_path / "yolo" / "data.yaml").read_text())["names"]
    assert list(names.values()) == CLASSES == (tmp_path / "yolo" / "classes.txt").read_text().split()
    back = tmp_path / "back.json"
    assert convert(tmp_path / "yolo", "--to", "coco", "--out", back, "--images", tmp_path / "images") == 0
    expected = [row for row in BOXES if not row[3]]
    for result, row in zip(sorted(boxes_of(back)), sorted(expected), strict=True):
        assert result[:2] == row[:2] and result[2] == pytest.approx(row[2], abs=1e-4)
    data = read_annotations(back)
    assert {image.file_name: image.size for image in data.images} == SIZES
    assert [category.name for category in data.categories] == CLASSES


def test_coco_to_voc_and_back_keeps_all(coco, tmp_path, capsys):
    assert convert(coco, "--to", "voc", "--out", tmp_path / "voc") == 0
    classes = tmp_path / "classes.txt"
    classes.write_text("\n".join(CLASSES))
    back = tmp_path / "back.json"
    assert convert(tmp_path / "voc", "--to", "coco", "--out", back, "--classes", classes) == 0
    assert sorted(boxes_of(back)) == sorted((*row[:2], [float(v) for v in row[2]], row[3]) for row in BOXES)
    assert [category.name for category in read_annotations(back).categories] == CLASSES
    assert "rounded" not in capsys.readouterr().err
    listed = (tmp_path / "voc" / "ImageSets" / "Main" / "all.txt").read_text().split()
    assert listed == ["a/street", "b", "empty"]


def test_voc_files_say_what_the_benchmarks_reader_reads(coco, tmp_path):
    assert convert(coco, "--to", "voc", "--out", tmp_path / "voc") == 0
    objects = read_objects(tmp_path / "voc" / "Annotations" / "b.xml", CLASSES, tmp_path / "images" / "b.png")
    assert objects.boxes.tolist() == [[5, 6, 11, 13], [49, 89, 49, 89]]  # the last pixels inside
    assert objects.difficult.tolist() == [True, False] and objects.labels.tolist() == [2, 0]


def test_yolo_and_voc_convert_into_each_other(coco, tmp_path):
    assert convert(coco, "--to", "yolo", "--out", tmp_path / "yolo") == 0
    shutil.copytree(tmp_path / "images", tmp_path / "yolo" / "images")
    assert convert(tmp_path / "yolo", "--to", "voc", "--out", tmp_path / "voc") == 0
    assert convert(tmp_path / "voc", "--to", "yolo", "--out", tmp_path / "again") == 0
    first = (tmp_path / "yolo" / "labels" / "a" / "street.txt").read_text()
    assert (tmp_path / "again" / "classes.txt").read_text().split() == ["car", "person"]  # those that objects have
    assert first.replace("\n2 ", "\n0 ").replace("0 0.15625", "1 0.15625") == (
        (tmp_path / "again" / "labels" / "a" / "street.txt").read_text()
    )


def test_yolos_polygons_become_outlines(coco, tmp_path):
    labels = tmp_path / "labels"
    labels.mkdir()
    (labels / "b.txt").write_text("2 0.2 0.1 0.6 0.1 0.6 0.5\n")
    (tmp_path / "classes.txt").write_text("person\nbicycle\ncar\n")
    assert convert(tmp_path, "--from", "yolo", "--to", "coco", "--out", tmp_path / "x.json") == 0
    (row,) = json.loads((tmp_path / "x.json").read_text())["annotations"]
    assert row["segmentation"] == [pytest.approx([10, 9, 30, 9, 30, 45])]
    assert row["bbox"] == pytest.approx([10, 9, 20, 36]) and row["area"] == pytest.approx(360)


def test_outlines_that_get_lost_are_counted(coco, tmp_path, capsys):
    document = json.loads(coco.read_text())
    document["annotations"][0]["segmentation"] = [[10, 20, 40, 20, 40, 60]]
    coco.write_text(json.dumps(document))
    for target in ("yolo", "voc"):
        assert convert(coco, "--to", target, "--out", tmp_path / target) == 0
        assert "1 outlines are left out: only boxes are written" in capsys.readouterr().err
    assert convert(coco, "--to", "coco", "--out", tmp_path / "same.json") == 0
    kept = json.loads((tmp_path / "same.json").read_text())["annotations"][0]
    assert kept["segmentation"] == [[10, 20, 40, 20, 40, 60]] and kept["area"] == 600


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("3 0.5 0.5 0.1 0.1", "line 1 has the label 3; there are 3 classes"),
        ("0.5 0.5 0.5 0.1 0.1", "has the label 0.5"),
        ("0 0.5 0.5 0.1", "has 4 numbers"),
        ("0 50 50 10 10", "not from 0 to 1"),
        ("0 x 0.5 0.1 0.1", "not a finite number"),
        ("0 nan 0.5 0.1 0.1", "not a finite number"),
    ],
)
def test_lines_that_are_no_labels_are_named(coco, tmp_path, line, said, capsys):
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "b.txt").write_text(line)
    (tmp_path / "classes.txt").write_text("\n".join(CLASSES))
    assert convert(tmp_path, "--from", "yolo", "--to", "coco", "--out", tmp_path / "x.json") == 1
    error = capsys.readouterr().err
    assert said in error and "b.txt" in error and error.count("\n") == 1
    assert not (tmp_path / "x.json").exists()


@pytest.mark.parametrize(
    ("file_name", "said"),
    [("../b.png", "is not below the folder"), ("/b.png", "is not below the folder"), ("b.jpg", "would share the file")],
)
def test_names_that_lead_elsewhere_are_refused(coco, tmp_path, file_name, said, capsys):
    document = json.loads(coco.read_text())
    document["images"][2]["file_name"] = file_name
    coco.write_text(json.dumps(document))
    assert convert(coco, "--to", "yolo", "--out", tmp_path / "yolo") == 1
    assert said in capsys.readouterr().err and not (tmp_path / "yolo").exists()


def test_other_mistakes_are_one_sentence(coco, tmp_path, capsys):
    def fails(status: int, said: str, *arguments: object) -> None:
        assert convert(*arguments) == status
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1

    (tmp_path / "labels").mkdir()
    yolo = (tmp_path, "--from", "yolo", "--to", "coco", "--out", tmp_path / "x.json")
    fails(2, "does not exist", tmp_path / "none", "--to", "coco", "--out", "x")
    fails(2, "is SOURCE itself", coco, "--to", "coco", "--out", coco)
    fails(2, "is a folder", coco, "--to", "coco", "--out", tmp_path)
    fails(1, "name the file of class names", *yolo)
    (tmp_path / "labels" / "lost.txt").write_text("")
    (tmp_path / "classes.txt").write_text("person")
    fails(1, "1 label files have no image", *yolo)
    fails(1, "no XML files", tmp_path / "images", "--from", "voc", "--to", "coco", "--out", tmp_path / "x.json")
    (tmp_path / "images" / "x.xml").write_text("<annotation><size><width>w</width></size></annotation>")
    fails(1, "<height> is ''", tmp_path / "images", "--to", "coco", "--out", tmp_path / "x.json")


def test_sizes_that_are_not_the_images_are_refused(coco, tmp_path, capsys):
    document = json.loads(coco.read_text())
    document["images"][0]["width"] = 999
    coco.write_text(json.dumps(document))
    assert convert(coco, "--to", "yolo", "--out", tmp_path / "yolo", "--images", tmp_path / "images") == 1
    assert "is read as 160 x 120" in capsys.readouterr().err
