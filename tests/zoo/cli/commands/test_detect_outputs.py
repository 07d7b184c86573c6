"""What `zoo detect` reads besides images, and what it writes besides drawings."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

import zoo
from tests.benchmarks.stubs import ColorDetector
from zoo.cli import main
from zoo.cli.detection import inputs
from zoo.coco_format.annotations import read_annotations

VAL = Path(__file__).parents[3] / "data" / "coco" / "val2017"
RED = (40, 40, 230)


class Stub(ColorDetector):
    """Counts the sizes of its batches, and has a parameter, whose device is the detector's."""

    def __init__(self) -> None:
        super().__init__()
        self.home = nn.Parameter(torch.zeros(1))
        self.sizes: list[int] = []

    def predict(self, images, geometries, *args):
        self.sizes.append(len(images))
        return super().predict(images, geometries, *args)


@pytest.fixture(autouse=True)
def stub(monkeypatch) -> Stub:
    model = Stub()
    monkeypatch.setattr(zoo, "load", lambda *_: model)
    return model


@pytest.fixture
def clip(tmp_path) -> Path:
    """Seven frames with a rectangle that moves."""
    path = tmp_path / "clip.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (160, 120))
    for number in range(7):
        frame = np.full((120, 160, 3), 255, np.uint8)
        cv2.rectangle(frame, (10 + 5 * number, 20), (60 + 5 * number, 70), (230, 40, 40), cv2.FILLED)
        writer.write(frame)
    writer.release()
    return path


def detect(*arguments: object) -> int:
    return main.main(["detect", "yolox_tiny", *map(str, arguments), "--score-thr", "0.01"])


def test_a_video_gives_rows_with_frames_and_a_video(clip, tmp_path, capsys):
    assert detect(clip, "--json", "--out", tmp_path / "out") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["frame"] for row in rows] == list(range(7))
    assert rows[3]["image_id"] == f"{clip}#3" and {row["category"] for row in rows} == {"car"}
    assert rows[6]["bbox"][0] - rows[0]["bbox"][0] == pytest.approx(30, abs=3)
    drawn = cv2.VideoCapture(str(tmp_path / "out" / "clip.mp4"))
    assert (drawn.get(cv2.CAP_PROP_FRAME_COUNT), drawn.get(cv2.CAP_PROP_FPS)) == (7, 10)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["clip.mp4"]


def test_every_nth_frame_and_no_more_than_wanted(clip, capsys):
    assert detect(clip, "--json", "--frame-step", 3, "--max-frames", 2) == 0
    assert [row["frame"] for row in json.loads(capsys.readouterr().out)] == [0, 3]


def test_a_video_that_breaks_off_is_reported_and_leaves_no_drawing(clip, tmp_path, capsys):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(clip.read_bytes()[:300])
    assert detect(broken, VAL / "000001.jpg", "--out", tmp_path / "out") == 1
    captured = capsys.readouterr()
    assert "broken.mp4: does not open as a video" in captured.err and "000001.jpg" in captured.out
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["000001.jpg"]


def test_a_failure_in_the_middle_of_a_video_leaves_no_half_of_a_drawing(clip, tmp_path, monkeypatch):
    def fail(self, *_):
        raise KeyboardInterrupt

    monkeypatch.setattr("zoo.cli.detection.outputs.Table.add", fail)
    assert detect(clip, "--out", tmp_path / "out") == 130
    assert list((tmp_path / "out").iterdir()) == []


class Camera:
    """What OpenCV gives for a camera that is switched off with Ctrl-C at its fourth frame."""

    def __init__(self, source):
        self.source, self.count = source, 0

    def isOpened(self):  # OpenCV's name
        return self.source == 1

    def get(self, _):
        return 0.0

    def grab(self):
        self.count += 1
        if self.count > 3:
            raise KeyboardInterrupt
        return True

    def retrieve(self):
        frame = np.full((120, 160, 3), 255, np.uint8)
        cv2.rectangle(frame, (10, 20), (60, 70), (230, 40, 40), cv2.FILLED)
        return True, frame

    def release(self):
        pass


def test_a_camera_goes_on_until_it_is_interrupted(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    assert detect("webcam:1", "--out", tmp_path / "out") == 0
    assert [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()] == [f"webcam:1#{i}" for i in range(3)]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["webcam_1.mp4"]
    assert detect("webcam") == 1
    assert "webcam: there is no such camera, or it is in use" in capsys.readouterr().err


def test_a_number_says_how_a_camera_is_named(capsys):
    assert detect("0") == 1
    assert "the camera of this number is webcam:0" in capsys.readouterr().err


def test_a_folder_has_images_and_videos_and_nothing_else(clip, tmp_path):
    (tmp_path / "notes.txt").write_text("none")
    cv2.imwrite(str(tmp_path / "a.PNG"), np.zeros((9, 9, 3), np.uint8))
    assert [source.path.name for source in inputs.find(str(tmp_path))] == ["a.PNG", "clip.mp4"]


def test_batches_detect_the_same_as_images_alone(stub, capsys):
    assert detect(VAL, "--json") == 0
    alone = json.loads(capsys.readouterr().out)
    assert set(stub.sizes) == {1}
    stub.sizes.clear()
    assert detect(VAL, "--json", "--batch-size", 3) == 0
    assert stub.sizes[0] == 3 and sum(stub.sizes) == len(list(VAL.iterdir()))
    assert json.loads(capsys.readouterr().out) == alone


def test_csv_has_a_header_and_a_line_per_detection(capsys):
    image = VAL / "000001.jpg"
    assert detect(image, "--csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert detect(image, "--json") == 0
    results = json.loads(capsys.readouterr().out)
    assert [row["category"] for row in rows] == [row["category"] for row in results] and rows
    assert all(float(row["width"]) == pytest.approx(one["bbox"][2], abs=0.01) for row, one in zip(rows, results))
    assert rows[0]["file"] == str(image) and rows[0]["frame"] == ""


def test_a_coco_file_is_read_back_with_the_same_boxes(tmp_path, capsys):
    file = tmp_path / "deep" / "found.json"
    assert detect(VAL, "--json", "--coco", file) == 0
    rows = json.loads(capsys.readouterr().out)
    annotations = read_annotations(file)
    assert [image.file_name for image in annotations.images] == [str(path) for path in sorted(VAL.iterdir())]
    assert [(one.bbox, annotations.categories[one.category].name) for one in annotations.objects] == [
        (row["bbox"], row["category"]) for row in rows
    ]
    assert all(one.area and one.segmentation and one.row["score"] > 0 for one in annotations.objects)


def test_yolo_files_say_the_same_boxes(tmp_path, capsys):
    assert detect(VAL / "000001.jpg", VAL / "000003.jpg", "--json", "--yolo", tmp_path) == 0
    rows = [row for row in json.loads(capsys.readouterr().out) if row["image_id"] == 1]
    height, width = cv2.imread(str(VAL / "000001.jpg")).shape[:2]
    lines = [line.split() for line in (tmp_path / "000001.txt").read_text().splitlines()]
    assert (tmp_path / "classes.txt").read_text().split() == ["person", "bicycle", "car"]
    assert [int(label) + 1 for label, *_ in lines] == [row["category_id"] for row in rows]
    for (_, x, y, w, h), row in zip(lines, rows):
        box = [float(x) * width, float(y) * height, float(w) * width, float(h) * height]
        left, top, wide, high = row["bbox"]
        assert box == pytest.approx([left + wide / 2, top + high / 2, wide, high], abs=0.01)
    assert (tmp_path / "000003.txt").exists()  # without objects, an empty file says that it was looked at


def test_nothing_is_printed_where_nothing_is_detected(capsys):
    assert main.main(["detect", "yolox_tiny", str(VAL), "--score-thr", "0.99"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "" and "no detection has a score of at least 0.99" in captured.err


def test_images_may_stand_behind_options(capsys):
    assert main.main(["detect", "yolox_tiny", "--score-thr", "0.01", str(VAL / "000001.jpg"), str(VAL)]) == 0
    assert "000001.jpg" in capsys.readouterr().out


def test_classes_are_listed_without_weights(monkeypatch, capsys):
    monkeypatch.setattr(zoo, "load", lambda *_: pytest.fail("the weights are not needed"))
    assert main.main(["detect", "yolox_tiny", "--show-classes", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 80 and rows[79] == {"label": 79, "category_id": 90, "class": "toothbrush"}
    assert main.main(["detect", "yolox_tiny", "--show-classes"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["0", "1", "person"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "required: IMAGE"),
        (["x.jpg", "--tta", "--batch-size", "2"], "--tta runs image by image"),
        (["x.jpg", "--batch-size", "0"], "at least 1, not 0"),
        (["x.jpg", "--json", "--csv"], "not allowed with"),
    ],
)
def test_requests_without_sense_are_one_sentence(options, said, capsys):
    assert main.main(["detect", "yolox_tiny", *options]) == 2
    captured = capsys.readouterr()
    assert said in captured.err and captured.err.count("\n") == 1 and captured.out == ""
