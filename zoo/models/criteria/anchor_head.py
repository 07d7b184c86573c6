"""Targets and losses of heads with anchors."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from zoo.models.build import component
from zoo.models.criteria.protocols import AnchorHead, PriorGenerator
from zoo.models.criteria.state import loss_of
from zoo.models.layers.constants import constant
from zoo.models.losses.base import Loss
from zoo.models.samplers.random import PseudoSampler
from zoo.models.targets import Assignment, GroundTruth
from zoo.structures import ImageGeometry

# Their focus makes sampling unnecessary: every anchor is learned from, and the average is over the positives.
WITHOUT_SAMPLING = ("FocalLoss", "GHMC", "QualityFocalLoss", "VarifocalLoss")
# Images are padded to multiples of this before they are batched; anchors beyond are not the image's.
PAD_DIVISOR = 32


@dataclass
class AnchorTargets:
    """What the anchors of a batch should predict; N images, P anchors over all levels.

    labels: (N, P), `num_classes` for background. label_weights: (N, P). boxes: (N, P, 4), encoded unless the loss is on
    decoded boxes. box_weights: (N, P, 4). positives: over the batch, at least one per image. average: what the losses
    are divided by, all samples, or the positives where every anchor takes part. owners: (N, P), each positive's object,
    -1 for the others.
    """

    labels: Tensor
    label_weights: Tensor
    boxes: Tensor
    box_weights: Tensor
    positives: int
    average: float
    owners: Tensor


@dataclass
class Match:
    """Which of an image's P anchors are positive, which background, and the object of each positive; indices."""

    positive: Tensor
    negative: Tensor
    matched: Tensor

    def owners(self, count: int) -> Tensor:
        """For each of P anchors its object, or -1."""
        owners = torch.full((count,), -1, device=self.positive.device)
        owners[self.positive] = self.matched
        return owners


# One image's labels (P,), their weights, boxes (P, 4), their weights, and what they come from.
ImageTargets = tuple[Tensor, Tensor, Tensor, Tensor, Match]
# (anchors (K, 4), boxes (K, 4)) -> regression targets (K, 4).
Encode = Callable[[Tensor, Tensor], Tensor]
# (x, y) of each level.
Strides = Sequence[tuple[int, int]]


class AnchorMatching:
    """Assigns and samples anchors as a head's `train_cfg` says.

    sampling: whether to take a sample at all.
    `in_padding: true` in `train_cfg`: anchors anywhere in the batch learn, as in Detectron2 and torchvision.
    """

    def __init__(
        self,
        train_cfg: Mapping[str, Any],
        loss_cls: Mapping[str, Any] | None,
        num_classes: int,
        sampling: bool = True,
    ) -> None:
        self.assigner = component(train_cfg["assigner"])
        needless = (loss_cls or {}).get("type") in WITHOUT_SAMPLING or "sampler" not in train_cfg
        self.sampling = sampling and not needless
        self.sampler = component(train_cfg["sampler"]) if self.sampling else PseudoSampler()
        self.border, self.in_padding = train_cfg.get("allowed_border", -1), train_cfg.get("in_padding", False)
        self.positive_weight = train_cfg.get("pos_weight", -1)
        self.num_classes = num_classes

    def targets(
        self,
        levels: Sequence[Tensor],
        sizes: Sequence[tuple[int, int]],
        strides: Strides,
        geometries: Sequence[ImageGeometry],
        ground_truths: Sequence[GroundTruth],
        encode: Encode,
        own: Sequence[Sequence[Tensor]] | None = None,
    ) -> AnchorTargets:
        """Targets of a batch.

        levels: anchors (P_i, 4). sizes, strides: of the feature maps. own: each image's anchors, where they differ.
        """
        per_image = []
        for i, (geometry, ground_truth) in enumerate(zip(geometries, ground_truths)):
            mine = own[i] if own else levels
            inside = self.valid(levels, sizes, strides, geometry) & self.within(torch.cat(list(mine)), geometry)
            per_image.append(self.image(mine, inside, ground_truth, encode))
        return self.collect(per_image)

    def collect(self, per_image: Sequence[ImageTargets]) -> AnchorTargets:
        """The targets of a batch, of what `image` returned for each."""
        labels, label_weights, boxes, box_weights, matches = zip(*per_image)
        positives = sum(max(len(m.positive), 1) for m in matches)
        negatives = sum(max(len(m.negative), 1) for m in matches)
        return AnchorTargets(
            torch.stack(labels),
            torch.stack(label_weights),
            torch.stack(boxes),
            torch.stack(box_weights),
            positives,
            positives + negatives if self.sampling else positives,
            torch.stack([m.owners(len(x)) for m, x in zip(matches, labels)]),
        )

    def inside(
        self, levels: Sequence[Tensor], sizes: Sequence[tuple[int, int]], strides: Strides, geometry: ImageGeometry
    ) -> Tensor:
        """Which anchors (P,) start inside the padded image and do not cross its border by too much."""
        return self.valid(levels, sizes, strides, geometry) & self.within(torch.cat(list(levels)), geometry)

    def valid(
        self, levels: Sequence[Tensor], sizes: Sequence[tuple[int, int]], strides: Strides, geometry: ImageGeometry
    ) -> Tensor:
        """Which anchors (P,) start inside the padded image."""
        if self.in_padding:
            return torch.ones(sum(map(len, levels)), dtype=torch.bool, device=levels[0].device)
        flags = []
        for anchors, size, stride in zip(levels, sizes, strides):
            rows, columns = (
                min(math.ceil(math.ceil(extent / PAD_DIVISOR) * PAD_DIVISOR / s), n)
                for extent, s, n in zip(geometry.size, reversed(stride), size)
            )
            flag = torch.zeros(*size, len(anchors) // (size[0] * size[1]), dtype=torch.bool, device=anchors.device)
            flag[:rows, :columns] = True
            flags.append(flag.flatten())
        return torch.cat(flags)

    def within(self, anchors: Tensor, geometry: ImageGeometry) -> Tensor:
        """Which anchors (P, 4) do not cross the image's border by too much, (P,)."""
        if self.border < 0:
            return torch.ones_like(anchors[:, 0], dtype=torch.bool)
        limit = constant((geometry.size[1], geometry.size[0]), anchors) + self.border
        return (anchors[:, :2] >= -self.border).all(dim=1) & (anchors[:, 2:] < limit).all(dim=1)

    def image(
        self, levels: Sequence[Tensor], inside: Tensor, ground_truth: GroundTruth, encode: Encode
    ) -> ImageTargets:
        """One image's labels (P,), their weights, boxes (P, 4), their weights, and what they come from."""
        anchors, where = torch.cat(list(levels)), inside.nonzero().flatten()
        mine = anchors[where]
        samples = self.sampler.sample(self.assign(mine, levels, inside, ground_truth), mine, ground_truth)
        return self.fill(
            anchors, Match(where[samples.positive], where[samples.negative], samples.matched), ground_truth, encode
        )

    def fill(self, anchors: Tensor, match: Match, ground_truth: GroundTruth, encode: Encode) -> ImageTargets:
        """What `image` returns, of anchors (P, 4) and which of them stand for what."""
        labels = torch.full((len(anchors),), self.num_classes, device=anchors.device)
        label_weights = anchors.new_zeros(len(anchors))
        boxes, box_weights = torch.zeros_like(anchors), torch.zeros_like(anchors)
        if len(match.positive):
            labels[match.positive] = ground_truth.labels[match.matched]
            label_weights[match.positive] = 1.0 if self.positive_weight <= 0 else self.positive_weight
            boxes[match.positive] = encode(anchors[match.positive], ground_truth.boxes[match.matched])
            box_weights[match.positive] = 1.0
        label_weights[match.negative] = 1.0
        return labels, label_weights, boxes, box_weights, match

    def assign(
        self, anchors: Tensor, levels: Sequence[Tensor], inside: Tensor, ground_truth: GroundTruth
    ) -> Assignment:
        """The assignment of the anchors (K, 4) that are `inside` (P,) of those of all levels."""
        if not hasattr(self.assigner, "topk"):
            return self.assigner.assign(anchors, ground_truth)
        counts = torch.stack([part.sum() for part in inside.split([len(level) for level in levels])]).tolist()
        return self.assigner.assign(anchors, counts, ground_truth)


def anchor_targets(
    head: AnchorHead,
    maps: Sequence[Tensor],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
    absolute: bool,
    generator: PriorGenerator | None = None,
) -> tuple[AnchorTargets, list[Tensor]]:
    """Targets of a batch for an `AnchorHead`, and its anchors level by level.

    maps: class logits (N, C, H, W). absolute: the boxes are targets themselves, not their encoding. generator: of the
    anchors, if not the head's own.
    """
    matching = AnchorMatching(head.train_cfg, head.loss_cfg["cls"], head.num_classes)
    generator, sizes = generator or head.prior_generator, [(x.shape[-2], x.shape[-1]) for x in maps]
    levels = generator.grid_priors(sizes, maps[0].device)
    encode = unencoded if absolute else head.bbox_coder.encode
    return matching.targets(levels, sizes, generator.strides, geometries, ground_truths, encode), levels


def unencoded(anchors: Tensor, boxes: Tensor) -> Tensor:
    """The boxes themselves."""
    return boxes


def anchor_losses(
    head: AnchorHead,
    outputs: Sequence[Sequence[Tensor]],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """`loss_cls` and `loss_bbox` of an `AnchorHead`; outputs: what its `forward` returned."""
    targets, levels = anchor_targets(head, outputs[0], geometries, ground_truths, head.reg_decoded_bbox)
    anchors = torch.cat(levels).expand(len(geometries), -1, 4)
    return losses_of_targets(head, outputs, targets, anchors, [len(level) for level in levels])


def losses_of_targets(
    head: AnchorHead,
    outputs: Sequence[Sequence[Tensor]],
    targets: AnchorTargets,
    anchors: Tensor,
    counts: Sequence[int],
) -> dict[str, Tensor]:
    """`loss_cls`, if there are logits, and `loss_bbox`, of anchors (N, P, 4) with `counts` of them on each level."""
    deltas, losses = flatten(outputs[1], 4), {}
    if head.reg_decoded_bbox:
        deltas = head.bbox_coder.decode(anchors.reshape(-1, 4), deltas.reshape(-1, 4)).view_as(deltas)
    if outputs[0] is not None:
        of_class = flatten(outputs[0], head.cls_out_channels), targets.labels, targets.label_weights
        losses["loss_cls"] = over_levels(loss_of(head, "cls"), counts, of_class, targets.average)
    of_box = deltas, targets.boxes, targets.box_weights
    return {**losses, "loss_bbox": over_levels(loss_of(head, "bbox"), counts, of_box, targets.average)}


def over_levels(loss: Loss, counts: Sequence[int], tensors: tuple[Tensor, Tensor, Tensor], average: float) -> Tensor:
    """A loss of predictions, targets and weights (N, P, ...) of `counts` priors per level.

    Level by level, if the loss averages by itself.
    """
    parts = zip(*(x.split(list(counts), dim=1) for x in tensors)) if hasattr(loss, "by_level") else [tensors]
    flat = ([x.flatten(0, 1) for x in part] for part in parts)
    losses = [loss(predictions, targets, weights, average) for predictions, targets, weights in flat]
    return torch.stack(losses).sum()


def rpn_losses(
    head: AnchorHead,
    outputs: Sequence[Sequence[Tensor]],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """`loss_rpn_cls` and `loss_rpn_bbox`: every object is of the one class that there is."""
    losses = anchor_losses(head, outputs, geometries, class_agnostic(ground_truths))
    return {name.replace("loss", "loss_rpn"): value for name, value in losses.items()}


def class_agnostic(ground_truths: Sequence[GroundTruth]) -> list[GroundTruth]:
    """The same objects, all of class 0."""
    return [replace(ground_truth, labels=torch.zeros_like(ground_truth.labels)) for ground_truth in ground_truths]


def flatten(maps: Sequence[Tensor], channels: int) -> Tensor:
    """Maps (N, A * channels, H, W) of all levels as (N, P, channels)."""
    return torch.cat([x.permute(0, 2, 3, 1).reshape(len(x), -1, channels) for x in maps], dim=1)
