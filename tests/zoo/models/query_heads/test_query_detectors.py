"""Query-based detectors as MMDetection 3.x arranges them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

import zoo
from zoo.checkpoint.convert.rename import adapt
from zoo.errors import BuildError
from zoo.manifest import api
from zoo.models.assigners.diffusiondet import DiffusionDetMatcher
from zoo.models.assigners.hungarian import HungarianAssigner, cheapest
from zoo.models.query_heads.denoising import DenoisingQueries
from zoo.models.targets import GroundTruth
from zoo.structures import ImageGeometry

TRANSFORMERS = [
    "dino-4scale_r50_8xb2-12e_coco",
    "ddq-detr-4scale_r50_8xb2-12e_coco",
    "align_detr-4scale_r50_8xb2-12e_coco",
    "conditional-detr_r50_8xb2-50e_coco",
    "dab-detr_r50_8xb2-50e_coco",
    "detr_r50_8xb2-150e_coco",
    "deformable-detr-refine-twostage_r50_16xb2-50e_coco",
    "co_dino_5scale_r50_8xb2_1x_coco",
    "diffusiondet_r50_fpn_500-proposals_1-step_crop-ms-480-800-450k_coco",
]
COSTS = [{"type": "FocalLossCost", "weight": 2.0}, {"type": "BBoxL1Cost", "weight": 5.0}, {"type": "IoUCost"}]


def small(name: str) -> dict[str, Any]:
    """A published network with fewer layers and queries, and a small backbone."""
    description = copy.deepcopy(api.architecture(name))
    shrink(description)
    indices = description["backbone"]["out_indices"]
    description["backbone"] = {
        "type": "ResNet", "depth": 18, "base_channels": 8, "out_indices": indices, "norm_cfg": {"type": "BN"},
    }  # fmt: skip
    description["neck"]["in_channels"] = [8 * 2**i for i in indices]
    return description


def shrink(part: Any) -> None:
    smaller = {"num_layers": 2, "num_queries": 30, "num_query": 30, "feedforward_channels": 32, "num_proposals": 20}
    smaller |= {"num_heads": 2} if isinstance(part, dict) and part.get("type") == "DynamicDiffusionDetHead" else {}
    if isinstance(part, dict):
        part.update({key: value for key, value in smaller.items() if key in part})
        if "all_layers_num_gt_repeat" in part:
            part["all_layers_num_gt_repeat"] = [2, 1, 2]
    for value in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        shrink(value)


def stirred(model: Any) -> Any:
    """The network with noise on its weights: fresh attention looks the same way whatever it sees."""
    for parameter in model.parameters():
        parameter.data += torch.randn_like(parameter) * 0.05
    return model


def tiny(name: str) -> Any:
    """A small published network that sees what it looks at."""
    torch.manual_seed(0)
    return stirred(zoo.build(small(name)))


def batch() -> tuple[Tensor, list[tuple[int, int]], list[dict[str, Tensor]]]:
    """Two images of different sizes, one with three objects and one with none."""
    boxes = torch.tensor([[10.0, 20.0, 100.0, 110.0], [40.0, 40.0, 120.0, 90.0], [5.0, 5.0, 60.0, 70.0]])
    empty = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long)}
    targets = [{"boxes": boxes, "labels": torch.tensor([1, 5, 5])}, empty]
    return torch.randn(2, 3, 128, 160), [(120, 150), (128, 160)], targets


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_every_parameter_that_trains_has_a_gradient(name: str) -> None:
    torch.manual_seed(0)
    model = zoo.build(small(name)).train()
    losses = model.losses(*batch())
    total = torch.stack(list(losses.values())).sum()
    assert torch.isfinite(total)
    total.backward()
    lost = [key for key, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert lost == []


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_images_without_objects_can_be_learned_from(name: str) -> None:
    torch.manual_seed(0)
    model = zoo.build(small(name)).train()
    images, sizes, targets = batch()
    assert all(torch.isfinite(value) for value in model.losses(images, sizes, [targets[1]] * 2).values())


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_an_image_gives_the_same_alone_and_in_a_batch(name: str) -> None:
    torch.manual_seed(0)
    model = stirred(zoo.build(small(name)))
    images, sizes, _ = batch()
    with torch.inference_mode():
        together = model(images, sizes)
        alone = [model(image[None], [size])[0] for image, size in zip(images, sizes)]
    for left, right in zip(together, alone):
        assert torch.allclose(left.scores, right.scores, atol=1e-4)


@pytest.mark.parametrize(
    ("newer", "older"),
    [
        ("detr_r50_8xb2-150e_coco", "detr_r50_8x2_150e_coco"),
        ("deformable-detr-refine-twostage_r50_16xb2-50e_coco", "deformable_detr_twostage_refine_r50_16x2_50e_coco"),
        ("deformable-detr_r50_16xb2-50e_coco", "deformable_detr_r50_16x2_50e_coco"),
    ],
)
def test_what_was_published_again_is_the_network_of_2_x_under_other_names(newer: str, older: str) -> None:
    torch.manual_seed(0)
    ours, theirs = stirred(zoo.build(newer)), zoo.build(older)
    state, used = adapt(ours.state_dict(), {name: tuple(x.shape) for name, x in theirs.state_dict().items()})
    theirs.load_state_dict(state)
    images = torch.randn(1, 3, 96, 128)
    with torch.inference_mode():
        left, right = ours(images, [(90, 100)])[0], theirs(images, [(90, 100)])[0]
    assert used == ["MMDetection 3.x"]
    assert torch.allclose(left.boxes, right.boxes, atol=1e-3) and torch.allclose(left.scores, right.scores, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("newer", "older"),
    [
        ("mask2former_r50_8xb2-lsj-50e_coco-panoptic", "mask2former_r50_lsj_8x2_50e_coco-panoptic"),
        ("maskformer_r50_ms-16xb1-75e_coco", "maskformer_r50_mstrain_16x1_75e_coco"),
    ],
)
def test_so_are_heads_with_masks(newer: str, older: str) -> None:
    torch.manual_seed(0)
    ours, theirs = stirred(zoo.build(newer)), zoo.build(older)
    state, used = adapt(ours.state_dict(), {name: tuple(x.shape) for name, x in theirs.state_dict().items()})
    theirs.load_state_dict(state)
    images, geometries = torch.randn(1, 3, 96, 128), [ImageGeometry.of_input((90, 100))]
    with torch.inference_mode():
        left, right = ours.outputs(images, geometries), theirs.outputs(images, geometries)
    assert used == ["MMDetection 3.x"]
    pairs = [*zip(left[0], right[0]), *zip(left[1], right[1])]
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in pairs)


def test_improved_dino_has_dinos_names_and_other_numbers() -> None:
    torch.manual_seed(0)
    names = ("dino-4scale_r50_8xb2-12e_coco", "dino-4scale_r50_improved_8xb2-12e_coco")
    plain, improved = (stirred(zoo.build(small(name))) for name in names)
    improved.load_state_dict(plain.state_dict())
    images = torch.randn(1, 3, 96, 128)
    with torch.inference_mode():
        assert not torch.allclose(plain(images)[0].scores, improved(images)[0].scores)


def test_dino_refuses_to_be_of_one_stage() -> None:
    with pytest.raises(BuildError, match="as_two_stage"):
        zoo.build({**small("dino-4scale_r50_8xb2-12e_coco"), "as_two_stage": False})


def test_co_detr_takes_padding_for_image_where_training_was_of_fixed_size() -> None:
    torch.manual_seed(0)
    model = zoo.build({**small("co_dino_5scale_r50_8xb2_1x_coco"), "use_lsj": True})
    images = torch.randn(1, 3, 128, 160)
    with torch.inference_mode():
        padded, whole = model(images, [(100, 90)])[0], model(images)[0]
    assert torch.equal(padded.boxes, whole.boxes)


def test_diffusion_repeats_and_takes_more_steps_on_demand() -> None:
    torch.manual_seed(0)
    description = small(TRANSFORMERS[-1])
    description["test_cfg"]["score_thr"] = 0.0
    description["bbox_head"]["sampling_timesteps"] = 3
    model, images = zoo.build(description), torch.randn(1, 3, 96, 128)
    with torch.inference_mode():
        first, second = model(images)[0], model(images)[0]
    assert torch.equal(first.boxes, second.boxes)
    assert len(first) > 20 and (first.boxes[:, 2] > first.boxes[:, 0]).all()


def queries(**settings: Any) -> DenoisingQueries:
    torch.manual_seed(0)
    return DenoisingQueries(num_classes=4, channels=8, num_queries=5, **settings)


def truth(count: int) -> GroundTruth:
    boxes = torch.tensor([[10.0, 10.0, 30.0, 50.0]]).repeat(count, 1) + torch.arange(count)[:, None]
    return GroundTruth(boxes, torch.arange(count) % 4)


def test_denoising_groups_see_neither_each_other_nor_are_seen() -> None:
    noise = queries(group_cfg={"num_dn_queries": 6})([truth(3), truth(1)], [ImageGeometry.of_input((60, 60))] * 2)
    assert noise.count == 12  # two groups of three objects, good and bad
    assert noise.mask[12:, :12].all() and not noise.mask[12:, 12:].any()
    assert not noise.mask[:6, :6].any() and noise.mask[:6, 6:12].all() and not noise.mask[:6, 12:].any()
    assert [(p.query.tolist(), p.objects.tolist()) for p in noise.pairs] == [
        ([0, 1, 2, 6, 7, 8], [0, 1, 2] * 2),
        ([0, 6], [0, 0]),
    ]


def test_denoising_boxes_stray_as_far_as_they_are_told() -> None:
    settings: dict[str, Any] = {"label_noise_scale": 1e-9, "box_noise_scale": 1e-9}
    noise = queries(**settings)([truth(2)], [ImageGeometry.of_input((60, 60))])
    result = noise.boxes[0].sigmoid().unflatten(0, (-1, 2))
    wanted = torch.tensor([[20.0, 30.0, 20.0, 40.0], [21.0, 31.0, 20.0, 40.0]]) / 60
    assert torch.allclose(result, wanted.expand_as(result), atol=2e-3)
    far = queries(label_noise_scale=1e-9, box_noise_scale=1.0)([truth(2)], [ImageGeometry.of_input((600, 600))])
    strays = (far.boxes[0].sigmoid().unflatten(0, (-1, 2, 2))[..., :2] * 600 - wanted[:, :2] * 60).abs()
    assert (strays[:, 0] <= torch.tensor([10.0, 20.0])).all() and strays[:, 1].max() > strays[:, 0].max()


def test_an_object_may_get_several_queries_but_no_query_several_objects() -> None:
    torch.manual_seed(0)
    logits, boxes = torch.randn(7, 4), torch.rand(7, 4) * 0.5 + 0.2
    cost = HungarianAssigner(match_costs=COSTS).cost(logits, boxes, truth(3), (60, 60))
    pairs = cheapest([cost] * 3, [1, 2, 9])
    assigned = [sorted(own.objects.tolist()) for own in pairs]
    assert assigned == [[0, 1, 2], [0, 0, 1, 1, 2, 2], [0, 0, 1, 1, 2, 2]]
    assert all(len(own.query.unique()) == len(own.query) for own in pairs)


def test_every_object_gets_a_box_of_diffusion_however_far_all_are() -> None:
    torch.manual_seed(0)
    boxes = torch.tensor([[50.0, 50.0, 59.0, 59.0]]).repeat(6, 1) + torch.rand(6, 4)
    (pairs,) = DiffusionDetMatcher(match_costs=COSTS).match([(torch.randn(6, 4), boxes, truth(4), (60, 60))])
    assert set(pairs.objects.tolist()) == set(range(4))
