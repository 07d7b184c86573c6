"""A student learns from images that only its teacher annotates."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision.ops import box_iou

import zoo
from benchmarks.datasets import demo
from zoo.errors import DataError, NotTrainable, UsageError
from zoo.manifest import api
from zoo.models.criteria.pseudo_boxes import project
from zoo.models.criteria.soft_teacher import DEFAULTS, annotate
from zoo.models.views import Unlabeled
from zoo.training import distributed, recipe
from zoo.training.checkpointing import load_state, meta, save_state
from zoo.training.coco_folder import CocoFolder
from zoo.training.config import TrainConfig
from zoo.training.dataset import Batch, TrainingSet, collate
from zoo.training.image_folder import ImageFolder
from zoo.training.layout import find
from zoo.training.mixed import MixedBatches, shares
from zoo.training.publish import publish
from zoo.training.sampler import Key
from zoo.training.setup import make_trainer
from zoo.training.trainer import Trainer
from zoo.training.views import UnlabeledSet, collate_views

NAME = "soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco"
SMALL = "demo_mask_rcnn"


def description() -> dict[str, Any]:
    """Soft Teacher of the demonstration's detector, without its masks."""
    own = api.architecture(SMALL)
    head = {key: value for key, value in own["roi_head"].items() if "mask" not in key}
    return {"type": "SoftTeacher", "detector": {**own, "roi_head": head}, "semi_train_cfg": {"unsup_weight": 4.0}}


def settings(**changes: Any) -> recipe.Recipe:
    own = recipe.BY_TYPE["SoftTeacher"]
    images = replace(own.augmentation, scales=((160, 112), (176, 144)))
    own = replace(own, augmentation=images, epochs=2, warmup=0, batch=5, learning_rate=0.002)
    return replace(own, **changes)


def run(shapes: Path, out: Path, without: str = "mask", **changes: Any) -> Trainer:
    """A trainer on 12 images with and 4 without annotations, from the demonstration's weights but those `without`."""
    annotations, images = find(shapes)
    own, learned = settings(**changes), api.preprocessing(SMALL)
    data = TrainingSet(CocoFolder(annotations, images), learned, own.augmentation, 0, own.epochs)
    unlabeled = UnlabeledSet(ImageFolder(shapes / "val"), learned, own.augmentation)
    config = TrainConfig(SMALL, annotations, images, out, batch_size=5, log_every=1)
    trainer = Trainer(config, distributed.join(), description(), data, own, unlabeled)
    weights = {k: v for k, v in zoo.load(SMALL).state_dict().items() if "mask" not in k and without not in k}
    trainer.network.student.load_state_dict(weights, strict=False)
    trainer.prepare()
    return trainer


def recorded_case(shapes: Path) -> tuple[Any, Batch, Unlabeled]:
    """A network, whose samplers take every candidate, with a batch of annotated images and views of others."""
    own = description()
    limits = {"num": 10**6, "pos_fraction": 1.0}
    stages = {key: dict(own["detector"]["train_cfg"][key]) for key in ("rpn", "rcnn")}
    stages = {key: {**stage, "sampler": {**stage["sampler"], **limits}} for key, stage in stages.items()}
    own["detector"] = {**own["detector"], "train_cfg": {**own["detector"]["train_cfg"], **stages}}
    network: Any = zoo.build(own)
    weights = {k: v for k, v in zoo.load(SMALL).state_dict().items() if "mask" not in k}
    network.teacher.load_state_dict(weights)
    network.student.load_state_dict({k: v * 1.05 if v.is_floating_point() else v for k, v in weights.items()})
    learned, images = api.preprocessing(SMALL), settings().augmentation
    data = TrainingSet(CocoFolder(*find(shapes)), learned, images, 0, 1)
    unlabeled = UnlabeledSet(ImageFolder(shapes / "val"), learned, images)
    views = collate_views([unlabeled[Key(0, place)] for place in range(4)])
    return network.train(), collate([data[Key(0, place)] for place in range(2)]), views


# MMDetection 3.3.0's, of the same weights, images and random numbers, its teacher in inference mode.
RECORDED = {
    "sup_loss_rpn_cls": 0.008436,
    "sup_loss_rpn_bbox": 0.000374,
    "sup_loss_cls": 0.522316,
    "sup_loss_bbox": 0.414881,
    "unsup_loss_rpn_cls": 0.099498,
    "unsup_loss_rpn_bbox": 0.000707,
    "unsup_loss_cls": 1.986885,
    "unsup_loss_bbox": 1.525800,
}


def test_losses_are_the_references(shapes: Path) -> None:
    network, labeled, views = recorded_case(shapes)
    torch.manual_seed(9)  # of the jitter
    losses = network.losses(*labeled, None, views)
    assert losses.keys() == RECORDED.keys()
    assert {name: float(value.detach()) for name, value in losses.items()} == pytest.approx(
        RECORDED, rel=2e-3, abs=1e-5
    )


def test_the_teachers_boxes_lie_on_the_objects_in_the_students_view(shapes: Path, tmp_path: Path) -> None:
    trainer = run(shapes, tmp_path)
    annotated = CocoFolder(*find(shapes, "val"))
    assert trainer.unlabeled is not None
    places = [trainer.unlabeled.folder.paths.index(path) for path in annotated.paths]
    views = collate_views([trainer.unlabeled[Key(0, place)] for place in places])
    teacher = trainer.network.teacher
    pseudo = annotate(teacher, teacher.features(views.weak.images), views, DEFAULTS)
    matrices, sizes = views.strong.matrices, views.strong.sizes
    objects = [project(torch.from_numpy(a.boxes), m, s) for a, m, s in zip(annotated, matrices, sizes)]
    overlaps = torch.cat([box_iou(p.boxes, boxes).amax(dim=1) for p, boxes in zip(pseudo, objects)])
    assert len(overlaps) >= 4
    assert overlaps.median() > 0.7
    sure = torch.cat([p.spread for p in pseudo])
    assert overlaps[sure < sure.median()].mean() >= overlaps[sure >= sure.median()].mean() - 0.05


def test_the_loss_falls_and_the_teacher_follows(shapes: Path, tmp_path: Path) -> None:
    """Classes are learned anew: from annotations first, until the teacher is sure of some boxes."""
    changes = {"epochs": 4, "learning_rate": 0.003, "teacher_momentum": 0.1, "burn_in": 10}
    trainer = run(shapes, tmp_path, without="fc_cls", **changes)
    student, teacher = trainer.network.student, trainer.network.teacher
    steps = trainer.steps()
    first = [next(steps).losses["sup_loss_cls"] for _ in range(10)]
    assert sum(first[-3:]) < 0.7 * sum(first[:3])
    later = []
    for _ in range(3):
        before = [value.clone() for value in teacher.parameters()]
        later.append(next(steps).losses)
        for old, own, new in zip(before, teacher.parameters(), student.parameters()):
            torch.testing.assert_close(own, old + 0.1 * (new - old), rtol=1e-4, atol=1e-6)
    assert {"sup_loss_cls", "unsup_loss_rpn_cls", "unsup_loss_cls", "unsup_loss_bbox"} <= later[0].keys()
    assert any(losses["unsup_loss_bbox"] > 0 for losses in later)
    assert not teacher.training and student.training


def test_a_trained_teacher_gives_boxes_to_learn(shapes: Path, tmp_path: Path) -> None:
    losses = next(run(shapes, tmp_path).steps()).losses
    assert losses["unsup_loss_bbox"] > 0
    assert losses["unsup_loss_rpn_bbox"] > 0


def test_student_and_teacher_are_saved_and_go_on(shapes: Path, tmp_path: Path) -> None:
    trainer = run(shapes, tmp_path, epochs=1, teacher_momentum=0.1)
    steps = trainer.steps()
    next(steps)
    save_state(trainer)
    rest = [step.losses for step in islice(steps, 2)]
    again = run(shapes, tmp_path, epochs=1, teacher_momentum=0.1)
    load_state(again)
    assert [step.losses for step in islice(again.steps(), 2)] == rest
    loaded = zoo.load_file(publish(again.result, meta(again), tmp_path, "published"))
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in again.result.state_dict().items())
    assert any(not torch.equal(a, b) for a, b in zip(loaded.student.parameters(), loaded.teacher.parameters()))


def test_other_unlabeled_images_are_not_resumed_with(shapes: Path, tmp_path: Path) -> None:
    trainer = run(shapes, tmp_path)
    save_state(trainer)
    assert trainer.unlabeled is not None
    trainer.unlabeled.folder = ImageFolder(demo.write(tmp_path / "others", {"val": 3}))
    with pytest.raises(UsageError, match="made with other unlabeled images"):
        load_state(trainer)


def test_at_first_only_annotations_count(shapes: Path, tmp_path: Path) -> None:
    trainer = run(shapes, tmp_path, burn_in=1, teacher_momentum=0.1)
    steps = trainer.steps()
    assert not any(name.startswith("unsup") for name in next(steps).losses)
    pairs = zip(trainer.network.student.parameters(), trainer.network.teacher.parameters())
    assert all(torch.equal(own, other) for own, other in pairs)
    assert any(name.startswith("unsup") for name in next(steps).losses)


def test_an_epoch_shows_every_image_and_repeats_the_smaller_set_with_new_keys() -> None:
    batches = MixedBatches(([(10, 20)] * 3, [(10, 20)] * 40), 5, seed=0, epoch=1)
    rows = list(batches)
    assert len(rows) == len(batches) == 10
    keys = [key for row in rows for key in row]
    assert len(set(keys)) == len(keys)
    assert {key.number for unlabeled, key in keys if unlabeled} == set(range(40))
    assert list(MixedBatches(([(10, 20)] * 3, [(10, 20)] * 40), 5, seed=0, epoch=1, skip=4)) == rows[4:]


def test_shares_are_the_references() -> None:
    assert [shares(n) for n in (2, 5, 8, 40)] == [(1, 1), (1, 4), (2, 6), (8, 32)]
    with pytest.raises(UsageError, match="at least two images"):
        shares(1)


def test_unlabeled_images_are_asked_for_and_only_where_they_are_learned_from(shapes: Path, tmp_path: Path) -> None:
    annotations, images = find(shapes)
    config = TrainConfig(NAME, annotations, images, tmp_path, start="scratch")
    with pytest.raises(UsageError, match="learns from images with and without annotations together; pass a folder"):
        make_trainer(config, distributed.join())
    with pytest.raises(UsageError, match="demo_atss learns from annotated images only"):
        make_trainer(replace(config, name="demo_atss", unlabeled=images), distributed.join())
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty has no images"):
        ImageFolder(tmp_path / "empty")


def test_losses_without_unlabeled_images_are_refused() -> None:
    network = zoo.build(description())
    with pytest.raises(NotTrainable, match="pass the others as `unlabeled`"):
        network.losses(torch.zeros(1, 3, 64, 64), [(64, 64)], [{"boxes": torch.zeros(0, 4), "labels": torch.zeros(0)}])
