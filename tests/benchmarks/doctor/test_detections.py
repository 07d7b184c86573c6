"""`bench doctor` names the mistake in a file of detections, with its price, and none where there is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.cli import main
from benchmarks.datasets.coco import CocoDataset
from benchmarks.datasets.request import MetricConfig
from benchmarks.doctor import case as cases
from benchmarks.perf import drawn_faults, injected_faults, spoil
from benchmarks.perf.injected_faults import FAULTS, HEALTHY
from benchmarks.perf.spoil import Facts, Spoil

NAMES = [f"class {letter}" for letter in "mbzqafk"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of 40 images of several sizes with seven classes, and detections near its objects."""
    root, random = tmp_path_factory.mktemp("data"), np.random.default_rng(5)
    (root / "annotations").mkdir()
    images, annotations, rows = [], [], []
    for number in range(1, 41):
        height, width = ((480, 640), (640, 426), (375, 500), (500, 333))[number % 4]
        image_id = 1000 + 7 * number
        images.append({"id": image_id, "file_name": f"{image_id:06d}.jpg", "height": height, "width": width})
        for _ in range(int(random.integers(3, 8))):
            side = np.exp(random.uniform(np.log(20), np.log(200), 2))
            corner = random.uniform(0, 1, 2) * np.maximum((width, height) - side, 1)
            box, label = [*corner, *side], int(random.integers(len(NAMES)))
            row = {"image_id": image_id, "category_id": 3 + 2 * label, "iscrowd": 0}
            area = float(np.prod(side))
            annotations.append(row | {"id": len(annotations) + 1, "bbox": list(map(float, box)), "area": area})
            if random.random() < 0.8:
                near = np.array(box) + random.normal(0, 0.06, 4) * np.tile(side, 2)
                rows.append(detection(image_id, 3 + 2 * label, near, random.beta(4, 2)))
        for _ in range(20):
            box = [*random.uniform(0, 250, 2), *random.uniform(10, 120, 2)]
            rows.append(detection(image_id, 3 + 2 * int(random.integers(len(NAMES))), box, random.beta(1, 8) + 0.01))
    categories = [{"id": 3 + 2 * i, "name": name} for i, name in enumerate(NAMES)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps(document))
    (root / "predictions.json").write_text(json.dumps(rows))
    return root


def detection(image_id: int, category_id: int, box: Any, score: float) -> dict[str, Any]:
    """A row of a results file."""
    bbox = [float(value) for value in box]
    return {"image_id": image_id, "category_id": category_id, "bbox": bbox, "score": float(score)}


@pytest.fixture(scope="module")
def opened(data: Path) -> CocoDataset:
    """The dataset."""
    from benchmarks.doctor.detections import opened

    return opened(data, "coco_2017", None)


# A selection, since each takes half a second; `benchmarks.perf.injected_faults` tries all of them on real detections.
TRIED = ("corners in place of sizes", "fractions, as corners", "network coordinates, letterbox", "EXIF ignored")
TRIED_CLASSES = ("labels from 0", "classes one too high", "images by index", "no suppression", "score threshold 0.3")


@pytest.mark.parametrize("name", [*TRIED, *TRIED_CLASSES])
def test_an_injected_fault_is_named_first(name: str, data: Path, opened: CocoDataset) -> None:
    expected, spoil = FAULTS[name]
    rows = spoil(json.loads((data / "predictions.json").read_text()), Facts(opened))
    result = injected_faults.named(cases.open_case(opened), rows)
    assert injected_faults.is_right(result | {"expected": expected}), result


@pytest.mark.parametrize("name", ["as it is", "rounded to pixels", "scores as logarithms", "60% of the detections"])
def test_a_healthy_file_has_no_mistake(name: str, data: Path, opened: CocoDataset) -> None:
    rows = HEALTHY[name](json.loads((data / "predictions.json").read_text()), Facts(opened))
    assert injected_faults.named(cases.open_case(opened), rows)["named"] == []


def test_the_script_has_thirty_faults_and_twenty_healthy_files() -> None:
    assert len(FAULTS) >= 30
    assert len(HEALTHY) >= 20


BIASED: dict[str, Spoil] = {
    "3% smaller": spoil.about_centers(0.97, 0.97),
    "7% larger": spoil.about_centers(1.07, 1.07),
    "a pixel to the left": spoil.boxes(lambda x, y, w, h, H, W: (x - 1, y, w, h)),
}


@pytest.mark.parametrize("name", BIASED)
def test_a_biased_detector_has_no_mistake(name: str, data: Path, opened: CocoDataset) -> None:
    rows = BIASED[name](json.loads((data / "predictions.json").read_text()), Facts(opened))
    assert injected_faults.named(cases.open_case(opened), rows)["named"] == []


def test_a_scale_from_the_corner_is_told_from_sizes_about_centers(data: Path, opened: CocoDataset) -> None:
    rows, facts = json.loads((data / "predictions.json").read_text()), Facts(opened)
    corner = spoil.boxes(lambda x, y, w, h, H, W: tuple(value * 800 / 608 for value in (x, y, w, h)))
    case = cases.open_case(opened)
    assert injected_faults.named(case, corner(rows, facts))["named"][0] == "resize-scale"
    assert injected_faults.named(case, spoil.about_centers(0.5, 0.5)(rows, facts))["named"][0] == "scaled"


def test_a_seed_always_draws_the_same_thirty_faults_and_twenty_healthy_files() -> None:
    first, again, other = (drawn_faults.draw(seed) for seed in (3, 3, 4))
    names = [one.name for one in first]
    assert names == [one.name for one in again] != [one.name for one in other]
    assert sum(bool(one.keys) for one in first) == 30 and len(first) == 50


def test_a_mistake_is_printed_with_its_price(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads((data / "predictions.json").read_text())
    for row in rows:
        row["bbox"] = [row["bbox"][0], row["bbox"][1], *np.add(row["bbox"][:2], row["bbox"][2:]).tolist()]
    (tmp_path / "corners.json").write_text(json.dumps(rows))
    arguments = ["doctor", "--predictions", str(tmp_path / "corners.json"), "--data", str(data)]
    assert main.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "1. Boxes are written as two corners (x1, y1, x2, y2)" in printed
    assert "(it costs " in printed
    assert main.main([*arguments, "--json", "--limit", "20"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["images"] == 20
    assert result["explanations"][0]["key"] == "xyxy"
    assert result["repaired_box_ap"] > result["box_ap"] + 0.1


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{}", "predictions are a list of objects"),
        ('[{"image_id": 1}]', "[0] is"),
        ("[", "JSON"),
        (None, "does not exist"),
    ],
)
def test_a_file_that_holds_no_detections_is_refused(
    content: str | None, sentence: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "file.json").write_text(content)
    assert main.main(["doctor", "--predictions", str(tmp_path / "file.json"), "--data", str(data)]) == 1
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert captured.err.count("\n") == 1


def test_an_empty_file_is_told_as_what_it_is(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file.json").write_text("[]")
    assert main.main(["doctor", "--predictions", str(tmp_path / "file.json"), "--data", str(data)]) == 0
    assert "no detection in any" in capsys.readouterr().out


def test_nothing_to_examine_is_an_error_of_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["doctor"]) == 2
    assert "--predictions FILE --data DIR" in capsys.readouterr().err


def test_only_coco_layouts_are_examined(data: Path, opened: CocoDataset) -> None:
    assert len(cases.open_case(opened, 7).numbers) == 7
    assert MetricConfig(measures=("box",)).measures == opened.request.measures
