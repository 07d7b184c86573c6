"""A run that is killed and resumed goes on with the same numbers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import zoo
from zoo.errors import UsageError
from zoo.manifest import api
from zoo.training import distributed, recipe
from zoo.training.checkpointing import BEST, Best, save_state
from zoo.training.config import TrainConfig
from zoo.training.dataset import Augmentation
from zoo.training.fit import train
from zoo.training.layout import find
from zoo.training.recipe import Recipe
from zoo.training.setup import make_trainer

OPTIONS = "--start scratch --epochs 3 --batch-size 4 --lr 0.01 --warmup 2 --log-every 1 --seed 3"


def plan(name: str, shapes: Path, out: Path, settings: Recipe, **changes: Any) -> TrainConfig:
    annotations, images = find(shapes)
    plan = TrainConfig(name, annotations, images, out, "scratch", settings, batch_size=4, seed=3, log_every=1)
    return replace(plan, **changes)


def of(name: str, **changes: Any) -> Recipe:
    own = recipe.default(api.architecture(name), api.get(name).training)
    return replace(own, **{"epochs": 3, "learning_rate": 0.01, "batch": 4, "warmup": 2, **changes})


def losses_in(log: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    return [{k: v for k, v in row.items() if "time" not in k} for row in rows if row.get("mode") == "train"]


def test_a_killed_run_resumes_with_the_same_losses(shapes: Path, tmp_path: Path) -> None:
    """Mask R-CNN, whose samplers draw from torch's random numbers."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    published = train(plan("demo_mask_rcnn", shapes, whole, of("demo_mask_rcnn")))
    command = [
        sys.executable,
        "-m",
        "zoo.cli.main",
        "train",
        "demo_mask_rcnn",
        "--data",
        str(shapes),
        "--out",
        str(killed),
    ]
    process = subprocess.Popen([*command, *OPTIONS.split()])
    deadline = time.monotonic() + 240
    while not (killed / "log.json").exists() or len(losses_in(killed / "log.json")) < 4:
        assert process.poll() is None, "the run ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not list(killed.glob("demo_mask_rcnn-*.pth"))
    resumed = train(plan("demo_mask_rcnn", shapes, killed, of("demo_mask_rcnn"), resume=True))
    assert losses_in(killed / "log.json") == losses_in(whole / "log.json")
    assert len(losses_in(whole / "log.json")) == 9
    assert published is not None
    assert resumed is not None
    first, second = (zoo.load_file(path).state_dict() for path in (published, resumed))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_averages_and_mosaics_resume_in_the_middle_of_an_epoch(shapes: Path, tmp_path: Path) -> None:
    settings = of("demo_yolox")
    settings = replace(settings, augmentation=replace(settings.augmentation, plain_epochs=1), clip=1.0)
    chosen = plan("demo_yolox", shapes, tmp_path, settings, accumulate=1, precision="bf16")
    place = distributed.join()
    run = make_trainer(chosen, place)
    whole = []
    for step in run.steps():
        whole.append(step.losses)
        if step.iteration == 4:
            save_state(run)
    assert "loss_l1" in whole[-1]
    assert "loss_l1" not in whole[0]
    again = make_trainer(replace(chosen, resume=True), place)
    assert [step.losses for step in again.steps()] == whole[4:]
    first, second = run.result.state_dict(), again.result.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_run_goes_on_only_as_it_began(shapes: Path, tmp_path: Path) -> None:
    run = make_trainer(plan("demo_atss", shapes, tmp_path, of("demo_atss")), distributed.join())
    save_state(run)
    other = plan("demo_atss", shapes, tmp_path, of("demo_atss"), resume=True, accumulate=3)
    with pytest.raises(UsageError, match="was made with accumulate 1, not 3"):
        make_trainer(other, distributed.join())


def test_only_what_differs_from_the_saved_run_is_said(shapes: Path, tmp_path: Path) -> None:
    save_state(make_trainer(plan("demo_atss", shapes, tmp_path, of("demo_atss")), distributed.join()))
    other = of("demo_atss", epochs=5, augmentation=Augmentation(mixup=True))
    with pytest.raises(UsageError) as caught:
        make_trainer(plan("demo_atss", shapes, tmp_path, other, resume=True), distributed.join())
    told = "was made with epochs 3, not 5, augmentation mixup False, not True. Leave that as it was"
    assert told in str(caught.value) and len(str(caught.value)) < len(str(tmp_path)) + 150


def test_a_finished_run_that_is_resumed_publishes_no_second_file(shapes: Path, tmp_path: Path) -> None:
    chosen = plan("demo_atss", shapes, tmp_path, of("demo_atss", epochs=1))
    first = train(chosen)
    assert first is not None
    assert train(replace(chosen, resume=True)) == first and list(tmp_path.glob("*-*.pth")) == [first]
    first.unlink()
    again = train(replace(chosen, resume=True))
    assert again is not None and again.is_file() and list(tmp_path.glob("*-*.pth")) == [again]


def test_the_best_network_is_kept_and_remembered(shapes: Path, tmp_path: Path) -> None:
    trainer = make_trainer(plan("demo_atss", shapes, tmp_path, of("demo_atss")), distributed.join())
    steps, best = trainer.steps(), Best(trainer)
    next(steps)
    assert best.update({"bbox_mAP": 0.2, "bbox_mAP_50": 0.4})
    kept = {name: value.clone() for name, value in trainer.result.state_dict().items()}
    next(steps)
    assert not best.update({"bbox_mAP": 0.2, "bbox_mAP_50": 0.5})
    save_state(trainer, best.metrics)
    loaded = zoo.load_file(tmp_path / BEST)
    assert loaded.classes == trainer.data.folder.classes
    assert all(torch.equal(kept[name], value) for name, value in loaded.state_dict().items())
    again = make_trainer(replace(trainer.config, resume=True), distributed.join())
    assert Best(again).metrics == {"bbox_mAP": 0.2, "bbox_mAP_50": 0.4}
