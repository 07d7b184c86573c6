"""Targets and losses of heads with anchors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from zoo.models.build import component
from zoo.models.training.samplers.random import PseudoSampler
from zoo.models.training.targets import Assignment, Samples, Truth
from zoo.structures import Frame

# Their focus makes sampling unnecessary: every anchor is learnt from, and the average is over the positives.
WITHOUT_SAMPLING = ("FocalLoss", "GHMC", "QualityFocalLoss", "VarifocalLoss")
# Pictures are padded to multiples of this before they are batched; anchors beyond are not the picture's.
PAD_DIVISOR = 32


@dataclass
class AnchorTargets:
    """What the anchors of a batch should predict; N pictures, P anchors over all levels.

    labels: (N, P), `num_classes` for background. label_weights: (N, P). boxes: (N, P, 4), encoded unless the loss is on
    decoded boxes. box_weights: (N, P, 4). positives: over the batch, at least one per picture. average: what the losses
    are divided by, all samples, or the positives where every anchor takes part.
    """

    labels: Tensor
    label_weights: Tensor
    boxes: Tensor
    box_weights: Tensor
    positives: int
    average: int


class AnchorMatching:
    """Assigns and samples anchors as a head's `train_cfg` says.

    encode: (anchors (K, 4), boxes (K, 4)) -> regression targets (K, 4).
    """

    def __init__(self, train_cfg: Mapping[str, Any], loss_cls: Mapping[str, Any] | None, num_classes: int) -> None:
        self.assigner = component(train_cfg["assigner"])
        self.sampling = (loss_cls or {}).get("type") not in WITHOUT_SAMPLING and "sampler" in train_cfg
        self.sampler = component(train_cfg["sampler"]) if self.sampling else PseudoSampler()
        self.border = train_cfg.get("allowed_border", -1)
        self.positive_weight = train_cfg.get("pos_weight", -1)
        self.num_classes = num_classes

    def targets(
        self,
        levels: Sequence[Tensor],
        sizes: Sequence[tuple[int, int]],
        strides: Any,
        frames: Sequence[Frame],
        truths: Sequence[Truth],
        encode: Any,
    ) -> AnchorTargets:
        """Targets of a batch. levels: anchors (P_i, 4). sizes, strides: of the feature maps."""
        per_picture = []
        for frame, truth in zip(frames, truths):
            inside = self.inside(levels, sizes, strides, frame)
            per_picture.append(self.picture(levels, inside, truth, encode))
        labels, label_weights, boxes, box_weights, samples = zip(*per_picture)
        positives = sum(max(len(s.positive), 1) for s in samples)
        negatives = sum(max(len(s.negative), 1) for s in samples)
        return AnchorTargets(
            torch.stack(labels),
            torch.stack(label_weights),
            torch.stack(boxes),
            torch.stack(box_weights),
            positives,
            positives + negatives if self.sampling else positives,
        )

    def inside(self, levels: Sequence[Tensor], sizes: Sequence[tuple[int, int]], strides: Any, frame: Frame) -> Tensor:
        """Which anchors (P,) start inside the padded picture and do not cross its border by too much."""
        flags = []
        for anchors, size, stride in zip(levels, sizes, strides):
            rows, columns = (
                min(math.ceil(math.ceil(extent / PAD_DIVISOR) * PAD_DIVISOR / s), n)
                for extent, s, n in zip(frame.size, reversed(stride), size)
            )
            flag = torch.zeros(*size, len(anchors) // (size[0] * size[1]), dtype=torch.bool, device=anchors.device)
            flag[:rows, :columns] = True
            flags.append(flag.flatten())
        inside = torch.cat(flags)
        if self.border < 0:
            return inside
        anchors, (height, width) = torch.cat(list(levels)), frame.size
        limit = anchors.new_tensor([width, height]) + self.border
        return inside & (anchors[:, :2] >= -self.border).all(dim=1) & (anchors[:, 2:] < limit).all(dim=1)

    def picture(
        self, levels: Sequence[Tensor], inside: Tensor, truth: Truth, encode: Any
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Samples]:
        """One picture's labels (P,), their weights, boxes (P, 4), their weights, and the samples."""
        anchors = torch.cat(list(levels))
        where = inside.nonzero().flatten()
        assignment = self.assign(levels, inside, truth)
        samples = self.sampler.sample(assignment, anchors[where], truth)
        positive, negative = where[samples.positive], where[samples.negative]
        labels = torch.full((len(anchors),), self.num_classes, device=anchors.device)
        label_weights = anchors.new_zeros(len(anchors))
        boxes, box_weights = torch.zeros_like(anchors), torch.zeros_like(anchors)
        if len(positive):
            labels[positive] = truth.labels[samples.matched]
            label_weights[positive] = 1.0 if self.positive_weight <= 0 else self.positive_weight
            boxes[positive] = encode(anchors[positive], truth.boxes[samples.matched])
            box_weights[positive] = 1.0
        label_weights[negative] = 1.0
        return labels, label_weights, boxes, box_weights, samples

    def assign(self, levels: Sequence[Tensor], inside: Tensor, truth: Truth) -> Assignment:
        """The assignment of the anchors inside."""
        anchors = torch.cat(list(levels))[inside]
        if not hasattr(self.assigner, "topk"):
            return self.assigner.assign(anchors, truth)
        counts = [int(part.sum()) for part in inside.split([len(level) for level in levels])]
        return self.assigner.assign(anchors, counts, truth)


def anchor_targets(
    head: Any, maps: Sequence[Tensor], frames: Sequence[Frame], truths: Sequence[Truth], absolute: bool
) -> tuple[AnchorTargets, list[Tensor]]:
    """Targets of a batch for an `AnchorHead`, and its anchors level by level.

    maps: class logits (N, C, H, W). absolute: the boxes are targets themselves, not their encoding.
    """
    matching = AnchorMatching(head.train_cfg, head.loss_cfg["cls"], head.num_classes)
    levels, sizes = head.priors(maps), [(x.shape[-2], x.shape[-1]) for x in maps]
    encode = (lambda anchors, boxes: boxes) if absolute else head.bbox_coder.encode
    return matching.targets(levels, sizes, head.prior_generator.strides, frames, truths, encode), levels


def anchor_losses(
    head: Any, outputs: Sequence[Sequence[Tensor]], frames: Sequence[Frame], truths: Sequence[Truth]
) -> dict[str, Tensor]:
    """`loss_cls` and `loss_bbox` of an `AnchorHead`; outputs: what its `forward` returned."""
    targets, levels = anchor_targets(head, outputs[0], frames, truths, head.reg_decoded_bbox)
    logits, deltas = flatten(outputs[0], head.cls_out_channels), flatten(outputs[1], 4)
    if head.reg_decoded_bbox:
        anchors = torch.cat(levels).repeat(len(logits), 1)
        deltas = head.bbox_coder.decode(anchors, deltas.reshape(-1, 4))
    loss_cls, loss_bbox = component(head.loss_cfg["cls"]), component(head.loss_cfg["bbox"])
    weights = targets.label_weights.flatten()
    return {
        "loss_cls": loss_cls(
            logits.reshape(-1, head.cls_out_channels), targets.labels.flatten(), weights, targets.average
        ),
        "loss_bbox": loss_bbox(
            deltas.reshape(-1, 4), targets.boxes.view(-1, 4), targets.box_weights.view(-1, 4), targets.average
        ),
    }


def rpn_losses(
    head: Any, outputs: Sequence[Sequence[Tensor]], frames: Sequence[Frame], truths: Sequence[Truth]
) -> dict[str, Tensor]:
    """`loss_rpn_cls` and `loss_rpn_bbox`: every object is of the one class that there is."""
    objects = [replace(truth, labels=torch.zeros_like(truth.labels)) for truth in truths]
    losses = anchor_losses(head, outputs, frames, objects)
    return {name.replace("loss", "loss_rpn"): value for name, value in losses.items()}


def flatten(maps: Sequence[Tensor], channels: int) -> Tensor:
    """Maps (N, A * channels, H, W) of all levels as (N, P, channels)."""
    return torch.cat([x.permute(0, 2, 3, 1).reshape(len(x), -1, channels) for x in maps], dim=1)
