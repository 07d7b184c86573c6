"""The parts of the trainer against their definitions."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import zoo
from zoo.checkpoint import read
from zoo.checkpoint.config.mmdet_config import describe
from zoo.errors import DataError
from zoo.manifest import api
from zoo.models.criteria.anchor_head import AnchorMatching
from zoo.preprocessing.mmdet_pipeline import parse_pipeline
from zoo.training import distributed, initial_weights, recipe
from zoo.training.coco_folder import CocoFolder
from zoo.training.dataset import Augmentation, TrainingSet, collate
from zoo.training.ema import WeightAverage
from zoo.training.layout import find
from zoo.training.optimizer import make_optimizer, rate_factor
from zoo.training.padded_anchors import with_padded_anchors
from zoo.training.publish import make_meta, publish
from zoo.training.publish import test_pipeline as written
from zoo.training.recipe import Recipe
from zoo.training.sampler import Batches, Key


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("retinanet_r50_nasfpn_crop640_50e_coco", None),
        ("mask_rcnn_r50_fpg_crop640_50e_coco", "rpn"),
        ("retinanet_effb3_fpn_crop896_8x4_1x_coco", None),
    ],
)
def test_anchors_learn_in_the_padding_where_all_images_are_padded_to_one_size(name: str, part: str | None) -> None:
    before = api.architecture(name)
    after = with_padded_anchors(before, api.preprocessing(name))
    settings = after["train_cfg"][part] if part else after["train_cfg"]
    assert AnchorMatching(settings, {"type": "FocalLoss"}, 4).in_padding
    assert {**settings, "in_padding": False} == {
        **(before["train_cfg"][part] if part else before["train_cfg"]),
        "in_padding": False,
    }


@pytest.mark.parametrize("name", ["retinanet_r50_fpn_1x_coco", "faster_rcnn_r50_fpn_1x_coco", "yolox_s_8x8_300e_coco"])
def test_anchors_of_other_networks_learn_in_the_image_only(name: str) -> None:
    assert with_padded_anchors(api.architecture(name), api.preprocessing(name)) == api.architecture(name)


def test_every_image_comes_once_an_epoch_in_batches_of_one_orientation() -> None:
    sizes = [(3, 4)] * 10 + [(4, 3)] * 6
    epoch = [key.number for batch in Batches(sizes, 2, seed=1, epoch=0) for key in batch]
    assert sorted(epoch) == list(range(16))
    assert all(len({sizes[k.number] for k in batch}) == 1 for batch in Batches(sizes, 2, 1, 0))
    assert epoch != [key.number for batch in Batches(sizes, 2, seed=1, epoch=1) for key in batch]


def test_processes_share_an_epoch_and_a_resumed_one_goes_on() -> None:
    sizes = [(3, 4)] * 12
    shares = [[k.number for b in Batches(sizes, 2, 0, 5, rank, 3) for k in b] for rank in range(3)]
    assert sorted(n for share in shares for n in share) == list(range(12))
    assert list(Batches(sizes, 2, 0, 5, 1, 3, skip=1)) == list(Batches(sizes, 2, 0, 5, 1, 3))[1:]


def test_a_image_is_prepared_the_same_whoever_does_it(shapes: Path) -> None:
    folder = CocoFolder(*find(shapes), masks=True)
    data = TrainingSet(
        folder, api.preprocessing("demo_yolox"), Augmentation(mosaic=True, mixup=True, plain_epochs=1), 7, 3
    )
    np.random.seed(0)
    first = data[Key(1, 4)]
    np.random.seed(1)
    second = data[Key(1, 4)]
    assert torch.equal(first.image, second.image)
    assert not torch.equal(first.image, data[Key(0, 4)].image)
    assert first.image.shape == (3, 160, 160)


def test_without_augmentation_training_sees_what_testing_sees(shapes: Path) -> None:
    folder = CocoFolder(*find(shapes), masks=True)
    data = TrainingSet(folder, api.preprocessing("demo_atss"), Augmentation(flip=0))
    samples = [data[Key(0, number)] for number in (0, 1)]
    expected = zoo.preprocessor("demo_atss")(folder.folder / folder.images[0]["file_name"])
    assert torch.equal(samples[0].image, expected.image)
    assert samples[0].size == expected.size
    batch = collate(samples)
    assert batch.targets[0]["masks"].shape[1:] == batch.images.shape[2:]
    for box, mask in zip(batch.targets[0]["boxes"], batch.targets[0]["masks"]):
        y, x = mask.nonzero(as_tuple=True)
        around = torch.stack([x.min(), y.min(), x.max() + 1, y.max() + 1])
        assert (around - box).abs().max() <= 1


def test_the_learning_rate_warms_up_and_falls_after_two_thirds_and_eleven_twelfths() -> None:
    factor = rate_factor(Recipe(epochs=12, warmup=500, warmup_ratio=0.001), per_epoch=1000)
    assert factor(0) == pytest.approx(0.001)
    assert factor(250) == pytest.approx(0.5005)
    assert [factor(i) for i in (500, 7999)] == [1, 1]
    assert [factor(i) for i in (8000, 10999, 11000)] == pytest.approx([0.1, 0.1, 0.01])
    assert rate_factor(Recipe(epochs=24), 10)(16 * 10) == pytest.approx(0.1)


def test_yolox_ends_on_a_constant_twentieth() -> None:
    settings = replace(recipe.BY_TYPE["YOLOX"], epochs=300, warmup=500)
    factor = rate_factor(settings, per_epoch=100)
    assert factor(50) < factor(200) < factor(499) < factor(500) == pytest.approx(1)
    middle = (500 + 28500) // 2
    assert factor(middle) == pytest.approx(0.05 + 0.95 * 0.5)
    assert factor(28500) == factor(29999) == pytest.approx(0.05)


def test_rtmdet_keeps_its_rate_for_half_of_the_epochs_and_ends_on_a_twentieth() -> None:
    factor = rate_factor(replace(recipe.BY_TYPE["RTMDet"], epochs=300), per_epoch=100)
    assert factor(0) == pytest.approx(1e-5)
    assert [factor(i) for i in (1000, 10000, 15000)] == [1, 1, 1]
    assert factor(22500) == pytest.approx(0.05 + 0.95 * 0.5)
    assert factor(28000) > factor(29999) == pytest.approx(0.05, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "optimizer", "rate", "decay", "clip", "falls"),
    [
        ("dino-4scale_r50_8xb2-12e_coco", "AdamW", 1e-4, 1e-4, 0.1, [11]),
        ("ddq-detr-4scale_r50_8xb2-12e_coco", "AdamW", 2e-4, 0.05, 0.1, [11]),
        ("conditional-detr_r50_8xb2-50e_coco", "AdamW", 1e-4, 1e-4, 0.1, [40]),
        ("detr_r50_8xb2-150e_coco", "AdamW", 1e-4, 1e-4, 0.1, [100]),
        ("co_dino_5scale_r50_8xb2_1x_coco", "AdamW", 2e-4, 1e-4, 0.1, [11]),
        ("maskformer_r50_mstrain_16x1_75e_coco", "AdamW", 1e-4, 1e-4, 0.01, [50]),
        ("faster_rcnn_r50_fpn_1x_coco", "SGD", 0.02, 1e-4, None, [8, 11]),
    ],
)
def test_the_default_recipe_is_the_published_one(
    name: str, optimizer: str, rate: float, decay: float, clip: float | None, falls: list[int]
) -> None:
    settings = recipe.default(api.architecture(name), api.get(name).training)
    assert (settings.optimizer, settings.learning_rate) == (optimizer, rate)
    assert (settings.weight_decay, settings.clip) == (decay, clip)
    factor = rate_factor(replace(settings, warmup=0), per_epoch=1)
    assert [epoch for epoch in range(1, settings.epochs) if factor(epoch) < factor(epoch - 1)] == falls


def test_the_average_follows_its_formula() -> None:
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 0.0)
    average, expected = WeightAverage(network, 0.01, ramp=10), 0.0
    for step in range(5):
        nn.init.constant_(network.weight, step + 1.0)
        average.update(network)
        momentum = (1 - 0.01) * math.exp(-(1 + step) / 10) + 0.01
        expected += momentum * (step + 1 - expected)
    assert average.module.weight.item() == pytest.approx(expected, rel=1e-5)


def test_the_learning_rate_is_in_proportion_to_the_images_of_a_step() -> None:
    model = zoo.build("demo_yolox")
    settings = Recipe(learning_rate=0.02, batch=16, plain_weights=True, backbone_rate=0.1)
    groups = make_optimizer(model, settings, batch=8).param_groups
    assert {round(g["lr"], 6) for g in groups} == {0.01, 0.001}
    assert all(p.ndim <= 1 for g in groups if g["weight_decay"] == 0 for p in g["params"])
    assert sum(len(g["params"]) for g in groups) == len(list(model.parameters()))


def recipes() -> list[str]:
    known = api.catalog()
    return sorted({known.entry(name).preprocessing: name for name in known.models}.values())


@pytest.mark.parametrize("name", recipes())
def test_every_recipe_survives_being_written_as_a_test_pipeline(name: str) -> None:
    own = api.preprocessing(name)
    assert parse_pipeline(written(own)) == own


def test_a_published_file_describes_itself(tmp_path: Path) -> None:
    own, description = api.preprocessing("demo_mask_rcnn"), api.architecture("demo_mask_rcnn")
    model = zoo.build("demo_mask_rcnn")
    path = publish(model, make_meta(description, own, ["a", "b", "c", "d"], epoch=1), tmp_path, "mine")
    from hashlib import sha256

    assert path.name == f"mine-{sha256(path.read_bytes()).hexdigest()[:8]}.pth"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    described = describe(read(path).meta)
    assert described.model == description
    assert described.preprocessing == own
    loaded = zoo.load_file(path)
    assert loaded.classes == ("a", "b", "c", "d")
    image = torch.zeros(1, 3, 96, 96)
    model.eval()
    with torch.inference_mode():
        first, second = model(image)[0], loaded(image)[0]
    assert torch.equal(first.scores, second.scores)


def test_fine_tuning_takes_everything_over_but_the_classes(tmp_path: Path) -> None:
    description = api.architecture("demo_mask_rcnn")
    source = zoo.build(description)
    path = publish(source, {}, tmp_path, "source")
    target = zoo.build(initial_weights.with_classes(description, 4, 2))
    left = initial_weights.from_detector(target, path, description)
    assert {name.rsplit(".", 2)[-2] for name in left} == {"fc_cls", "fc_reg", "conv_logits"}
    own, published = target.state_dict(), source.state_dict()
    assert all(torch.equal(own[name], published[name]) for name in own if name not in left)


def test_a_backbone_of_another_network_is_refused(tmp_path: Path) -> None:
    atss, yolox = zoo.build("demo_atss"), zoo.build("demo_yolox")
    path = publish(atss.backbone, {}, tmp_path, "backbone")  # type: ignore[arg-type]
    initial_weights.from_backbone(zoo.build("demo_mask_rcnn"), path)
    with pytest.raises(zoo.errors.MismatchedCheckpoint, match="not a checkpoint of this backbone"):
        initial_weights.from_backbone(yolox, path)


def test_nothing_stays_frozen_when_training_starts_from_scratch() -> None:
    description = initial_weights.unfrozen(api.architecture("retinanet_r18_fpn_1x_coco"))
    model = zoo.build(description).train()
    assert all(p.requires_grad for p in model.parameters())
    assert all(m.training for m in model.modules())


def test_only_parts_that_say_so_synchronize_their_statistics() -> None:
    assert distributed.says_synchronized({"norm_cfg": {"type": "SyncBN"}})
    assert not distributed.says_synchronized({"norm_cfg": {"type": "BN"}, "stages": [{"type": "GN"}]})


def test_a_folder_without_annotations_is_said_to_be_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="instances_train2017"):
        find(tmp_path)


def test_a_mask_former_with_other_classes_has_other_weights_of_them() -> None:
    description = api.architecture("mask2former_r50_lsj_8x2_50e_coco-panoptic")
    head = initial_weights.with_classes(description, 80, 3)["panoptic_head"]
    assert (head["num_things_classes"], head["num_stuff_classes"]) == (3, 53)
    assert head["loss_cls"]["class_weight"] == [1.0] * 56 + [0.1]


def test_from_scratch_nothing_of_a_backbone_is_frozen() -> None:
    for name in ("faster_rcnn_hrnetv2p_w18_1x_coco", "retinanet_effb3_fpn_crop896_8x4_1x_coco"):
        model = zoo.build(initial_weights.unfrozen(api.architecture(name))).train()
        assert all(p.requires_grad for p in model.backbone.parameters())
        norms = [m for m in model.backbone.modules() if isinstance(m, nn.BatchNorm2d)]
        assert norms and all(norm.training for norm in norms)
