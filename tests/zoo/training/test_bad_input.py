"""Data that cannot be trained on is refused in one sentence before the first step, and nothing is lost."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from zoo.cli import main
from zoo.errors import CorruptCheckpoint, DataError, NotTrainable, UsageError
from zoo.training import distributed, publish
from zoo.training.checkpointing import LATEST, save_state
from zoo.training.coco_folder import CocoFolder
from zoo.training.config import TrainConfig
from zoo.training.layout import find
from zoo.training.log import TrainingLog
from zoo.training.setup import make_trainer
from zoo.training.state import read_state
from zoo.training.trainer import Diverged, mean_losses

Change = Callable[[dict[str, Any]], Any]


def edited(shapes: Path, folder: Path, change: Change) -> tuple[Path, Path]:
    """The annotation file with a change, and the images."""
    annotations, images = find(shapes)
    document = json.loads(annotations.read_text())
    document = change(document) or document
    path = folder / "annotations.json"
    path.write_text(json.dumps(document))
    return path, images


def every(**values: Any) -> Change:
    """Set these values in every annotation."""
    return lambda document: [row.update(values) for row in document["annotations"]] and None


CASES: dict[str, tuple[Change, str]] = {
    "no objects": (lambda d: {**d, "annotations": []}, "no image with an object, so there is nothing to train on"),
    "crowds only": (every(iscrowd=1), "no image with an object"),
    "boxes outside the image": (every(bbox=[9000, 9000, 20, 20]), "no image with an object"),
    "objects of other classes only": (
        every(category_id=999),
        r"category_id is 999, it should be the id of one of 'categories'",
    ),
    "no masks": (lambda d: [row.pop("segmentation") for row in d["annotations"]] and None, "objects have no mask"),
    "empty masks": (every(segmentation=[]), "objects have no mask"),
    "no boxes": (lambda d: [row.pop("bbox") for row in d["annotations"]] and None, r"annotations\[0\].bbox is null"),
    "a list": (lambda d: d["annotations"], "not an annotation file in COCO's format"),
}


@pytest.mark.parametrize("case", CASES)
def test_annotations_that_cannot_be_trained_on(case: str, shapes: Path, tmp_path: Path) -> None:
    change, message = CASES[case]
    with pytest.raises(DataError, match=message):
        CocoFolder(*edited(shapes, tmp_path, change), masks=True)


def test_an_image_of_another_size_than_its_annotations_say(shapes: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"says size \(width x height\) 333 x .*, but .* is read as"):
        CocoFolder(*edited(shapes, tmp_path, lambda d: [i.update(width=333) for i in d["images"]] and None))


def test_a_missing_image_is_named_before_the_first_step(shapes: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"1 of 12 images do not exist, .*gone\.jpg first"):
        CocoFolder(*edited(shapes, tmp_path, lambda d: d["images"][0].update(file_name="gone.jpg")))


def test_ids_and_the_order_of_images_do_not_change_what_is_learned(shapes: Path, tmp_path: Path) -> None:
    def text_ids(document: dict[str, Any]) -> None:
        for row in [*document["images"], *document["categories"]]:
            row["id"] = f"id {row['id']}"
        for number, row in enumerate(document["annotations"]):
            row |= {"id": -number, "image_id": f"id {row['image_id']}", "category_id": f"id {row['category_id']}"}
        document["categories"].insert(0, {"id": 0, "name": document["categories"][0]["name"]})

    ours, theirs = CocoFolder(*find(shapes)), CocoFolder(*edited(shapes, tmp_path, text_ids))
    assert ours.classes == theirs.classes
    for index in range(len(ours)):
        assert (ours[index].boxes == theirs[index].boxes).all()
        assert (ours[index].labels == theirs[index].labels).all()


def config(shapes: Path, out: Path, **changes: Any) -> TrainConfig:
    return TrainConfig(
        **{
            "name": "demo_atss",
            "annotations": find(shapes)[0],
            "images": find(shapes)[1],
            "out": out,
            "start": "scratch",
        }
        | changes
    )


def test_one_image_is_enough_for_a_step(shapes: Path, tmp_path: Path) -> None:
    annotations, _ = edited(shapes, tmp_path, lambda d: {**d, "images": d["images"][:1]})
    trainer = make_trainer(config(shapes, tmp_path, annotations=annotations), distributed.join())
    assert next(trainer.steps()).losses["loss"] > 0


def test_too_few_images_are_counted(shapes: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"The dataset has 12 images; one optimizer step needs 16 \(batch size"):
        make_trainer(config(shapes, tmp_path, batch_size=4, accumulate=4), distributed.join())


def test_a_network_that_needs_proposals_is_refused(shapes: Path, tmp_path: Path) -> None:
    with pytest.raises(NotTrainable, match="learns from proposals of another network"):
        make_trainer(config(shapes, tmp_path, name="fast_rcnn_r50_fpn_1x_coco"), distributed.join())


def test_a_dataset_that_changed_is_not_resumed_with(shapes: Path, tmp_path: Path) -> None:
    save_state(make_trainer(config(shapes, tmp_path), distributed.join()))
    annotations, _ = edited(shapes, tmp_path, lambda d: {**d, "images": d["images"][:5]})
    with pytest.raises(UsageError, match="made with other annotations: the dataset changed since"):
        make_trainer(config(shapes, tmp_path, annotations=annotations, resume=True), distributed.join())


def test_a_loss_that_is_not_finite_stops_the_run_and_names_its_iteration() -> None:
    parts = [{"loss_cls": torch.tensor(1.0), "loss_bbox": torch.tensor(float("nan")), "loss": torch.tensor(0.0)}]
    with pytest.raises(Diverged, match=r"NaN or infinite at iteration 7 \(loss_bbox\)"):
        mean_losses(parts, 7)


def test_a_full_disk_leaves_the_old_state(tmp_path: Path) -> None:
    """A file size limit fails as a full disk does: after a part of the file."""
    publish.save(tmp_path / LATEST, {"old": 1})
    before = (tmp_path / LATEST).read_bytes()
    code = (
        "import sys, torch, resource, signal\nfrom pathlib import Path\nfrom zoo.errors import ZooError\n"
        "from zoo.training.publish import save\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try:\n    save(Path(sys.argv[1]), {'new': torch.zeros(1_000_000)})\n"
        "except ZooError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / LATEST)], capture_output=True, text=True)
    assert "could not be written" in done.stdout and done.stdout.count("\n") == 1, done.stderr
    assert (tmp_path / LATEST).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [LATEST]


@pytest.mark.parametrize("written", [0, 1, 100, 4000, -1])
def test_a_run_killed_at_any_byte_of_a_checkpoint_keeps_the_old_one(written: int, tmp_path: Path) -> None:
    publish.save(tmp_path / LATEST, {"training": {}, "old": 1})
    before = (tmp_path / LATEST).read_bytes()
    if (child := os.fork()) == 0:  # it writes a part of the new file, and is killed
        whole = io.BytesIO()
        torch.save({"training": {}, "new": torch.zeros(1000)}, whole)

        def interrupted(content: Any, path: Path) -> None:
            Path(path).write_bytes(whole.getvalue()[:written])
            os.kill(os.getpid(), signal.SIGKILL)

        torch.save = interrupted  # type: ignore[assignment]
        publish.save(tmp_path / LATEST, {})
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert (tmp_path / LATEST).read_bytes() == before and read_state(tmp_path / LATEST)["old"] == 1
    assert len(list(tmp_path.iterdir())) == 2
    publish.remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [LATEST]


@pytest.mark.parametrize("kept", [0, 1, 1000, -1])
def test_a_state_that_is_cut_off_is_named(kept: int, shapes: Path, tmp_path: Path) -> None:
    chosen = config(shapes, tmp_path)
    save_state(make_trainer(chosen, distributed.join()))
    state = tmp_path / LATEST
    state.write_bytes(state.read_bytes()[:kept])
    with pytest.raises(CorruptCheckpoint, match=r"latest\.pth cannot be read as a training state"):
        make_trainer(replace(chosen, resume=True), distributed.join())


def test_a_log_on_a_full_disk_is_named(tmp_path: Path) -> None:
    log = TrainingLog(tmp_path / "log.json", 0, 10)
    log.path = Path("/dev/full")
    with pytest.raises(DataError, match=r"^/dev/full could not be written: No space left on device; go on with"):
        log.append({"loss": 1.0})


def test_a_folder_and_an_annotation_file_are_not_both_taken(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "demo_atss", "--data", str(shapes), "--annotations", "a.json", "--out", str(tmp_path / "work")]
    assert main.main(words) == 2
    error = capsys.readouterr().err
    assert "leave it or --annotations out" in error and not (tmp_path / "work").exists()
