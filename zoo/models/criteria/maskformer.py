"""Losses of MaskFormer and Mask2Former: a set of masks is compared with a set (Cheng et al., 2021 and 2022)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.errors import UsageError
from zoo.models.assigners.hungarian import cheapest
from zoo.models.build import component
from zoo.models.criteria.detr import by_image, by_layer
from zoo.models.criteria.protocols import TrainedHead
from zoo.models.layers.constants import constant
from zoo.models.layers.points import sample_points
from zoo.models.losses.reduction import mean_over_processes
from zoo.models.targets import GroundTruth, Pairs
from zoo.structures import ImageGeometry

# (mask logits (Q, h, w), masks (M, H, W)) -> both as rows of comparable pixels or points, (Q, P) and (M, P).
# Class logits (N, Q, C) and mask logits (N, Q, h, w) of each layer.
MaskOutputs = tuple[Tensor | Sequence[Tensor], Tensor | Sequence[Tensor]]
Compare = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def maskformer_losses(
    head: TrainedHead, outputs: MaskOutputs, geometries: Sequence[ImageGeometry], ground_truths: Sequence[GroundTruth]
) -> dict[str, Tensor]:
    """`loss_cls`, `loss_mask` and `loss_dice` of the last layer, and behind "d0." and so on those of the others.

    ground targets: `masks` have the size of the padded input; stuff is objects with labels behind those of the things.
    """
    return all_layers(head, outputs, ground_truths, at_pixels, upsampled)


def mask2former_losses(
    head: TrainedHead, outputs: MaskOutputs, geometries: Sequence[ImageGeometry], ground_truths: Sequence[GroundTruth]
) -> dict[str, Tensor]:
    """The same as `maskformer_losses`, compared at random points instead of all pixels."""
    cfg = head.train_cfg
    count = cfg.get("num_points", 12544)

    def anywhere(masks: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        points = torch.rand((1, count, 2), device=masks.device)
        return at_points(masks, points), at_points(targets, points)

    def uncertain(masks: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        ratios = cfg.get("oversample_ratio", 3.0), cfg.get("importance_sample_ratio", 0.75)
        points = uncertain_points(masks.detach(), count, *ratios)
        return at_points(masks, points), at_points(targets, points)

    return all_layers(head, outputs, ground_truths, anywhere, uncertain)


def all_layers(
    head: TrainedHead,
    outputs: MaskOutputs,
    ground_truths: Sequence[GroundTruth],
    to_match: Compare,
    to_learn: Compare,
) -> dict[str, Tensor]:
    """The losses of all layers, those of the last one without a prefix."""
    for ground_truth in ground_truths:
        if ground_truth.masks is None:
            raise UsageError("MaskFormer learns masks: each image's target needs 'masks' (M, H, W)")
    pairs = match(head, outputs, ground_truths, to_match)
    layers = zip(*outputs, by_image(pairs, len(ground_truths)))
    return by_layer([layer_losses(head, x, m, own, ground_truths, to_learn) for x, m, own in layers])


@torch.no_grad()
def match(
    head: TrainedHead, outputs: MaskOutputs, ground_truths: Sequence[GroundTruth], to_match: Compare
) -> list[Pairs]:
    """The queries that get an object, of all images of the first layer, of the second one, and so on."""
    # 3.x describes the assigner of masks by the name of that of boxes.
    cost = component({**head.train_cfg["assigner"], "type": "MaskHungarianAssigner"}).cost
    images = [image for layer in zip(*outputs) for image in zip(*layer, ground_truths)]
    return cheapest([cost(x, target.labels, *to_match(m, objects(target))) for x, m, target in images])


def layer_losses(
    head: TrainedHead,
    logits: Tensor,
    masks: Tensor,
    pairs: Sequence[Pairs],
    ground_truths: Sequence[GroundTruth],
    to_learn: Compare,
) -> dict[str, Tensor]:
    """One layer's losses. logits: (N, Q, C). masks: (N, Q, h, w) logits. pairs: one for each image."""
    labels = torch.full(logits.shape[:2], head.num_classes, device=logits.device)
    chosen, targets = [], []
    for row, mask, (query, matched), ground_truth in zip(labels, masks, pairs, ground_truths):
        row[query] = ground_truth.labels[matched]
        chosen.append(mask[query])
        targets.append(objects(ground_truth)[matched])
    weight = constant(tuple(head.loss_cfg["cls"]["class_weight"]), logits)
    loss_cls, loss_mask, loss_dice = (component(head.loss_cfg[key]) for key in ("cls", "mask", "dice"))
    rows, wanted = to_learn(torch.cat(chosen), torch.cat(targets))
    count = mean_over_processes(logits.new_full((), float(len(rows)))).clamp(min=1)
    flat = labels.flatten()
    return {
        "loss_cls": loss_cls(logits.flatten(0, 1), flat, None, weight[flat].sum()),
        "loss_mask": loss_mask(rows.reshape(-1, 1), wanted.reshape(-1, 1), None, count * rows.shape[1]),
        "loss_dice": loss_dice(rows, wanted, None, count),
    }


def objects(ground_truth: GroundTruth) -> Tensor:
    """An image's masks (M, H, W) as numbers."""
    return ground_truth.masks.float()  # type: ignore[union-attr]


def at_pixels(masks: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Predictions (Q, h * w), and targets (M, h * w) shrunk to their resolution."""
    return masks.flatten(1), F.interpolate(targets[:, None], size=masks.shape[-2:])[:, 0].flatten(1)


def upsampled(masks: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Predictions (K, H * W) enlarged to the resolution of the targets (K, H * W)."""
    if len(masks) == 0:
        return masks.flatten(1), masks.flatten(1)
    large = F.interpolate(masks[:, None], size=targets.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
    return large.flatten(1), targets.flatten(1)


def at_points(masks: Tensor, points: Tensor) -> Tensor:
    """Masks (K, h, w) at points (K, P, 2), or the same points (1, P, 2) for all: (K, P)."""
    return sample_points(masks[:, None], points.expand(len(masks), -1, -1))[:, 0]


def uncertain_points(masks: Tensor, count: int, oversample: float, importance: float) -> Tensor:
    """Points (K, count, 2) as x, y in [0, 1]: mostly those where logits (K, h, w) are near zero (PointRend, 2020).

    oversample: so many times more candidates than points. importance: share of points chosen among them.
    """
    candidates = torch.rand(len(masks), int(count * oversample), 2, device=masks.device)
    best = (-at_points(masks, candidates).abs()).topk(int(importance * count), dim=1).indices
    chosen = candidates.gather(1, best[..., None].expand(-1, -1, 2))
    return torch.cat([chosen, torch.rand(len(masks), count - best.shape[1], 2, device=masks.device)], dim=1)
