"""Every dataset from the files up: what is in the tiny folders, found completely and in part, with the APs by hand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.accuracy.measure import write_results
from benchmarks.cli import main
from benchmarks.datasets import resampling
from benchmarks.datasets.catalog import DATASETS, open_dataset, spec
from benchmarks.datasets.check import check
from benchmarks.datasets.files import DatasetError
from benchmarks.datasets.predictions import Predictions
from benchmarks.datasets.request import MetricConfig
from benchmarks.datasets.results_file import evaluate_file
from tests.benchmarks.datasets.tiny import CITY_CLASSES, DATA, FOLDERS, perfect, tiny
from zoo.coco_format.image_files import image_size
from zoo.errors import UsageError
from zoo.manifest import api
from zoo.preprocessing.preprocess import read_image


def test_every_dataset_has_a_tiny_folder_in_its_layout() -> None:
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


def test_open_images_boxes_follow_an_image_that_its_exif_entry_turns(tmp_path: Path) -> None:
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


def test_every_dataset_of_the_manifests_can_be_evaluated() -> None:
    assert set(api.catalog().datasets) <= set(DATASETS)


def test_every_published_number_belongs_to_a_dataset_and_split_that_we_evaluate() -> None:
    entries = [api.get(name) for name in api.list_models()]
    apart = [e.name for e in entries if e.metrics and spec(e.dataset).published not in e.metrics]
    assert apart == []


def test_a_measure_that_a_dataset_does_not_have_is_refused() -> None:
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
