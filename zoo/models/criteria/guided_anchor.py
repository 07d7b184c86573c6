"""Losses of guided anchors: their positions, shapes and what is in them (Wang et al., 2019, section 3.5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from zoo.models.box_ops import area
from zoo.models.build import component
from zoo.models.criteria.anchor_head import AnchorMatching, class_agnostic, flatten, losses_of_targets, unencoded
from zoo.models.criteria.approx import ApproxMatching
from zoo.models.criteria.protocols import AnchorHead, PriorGenerator
from zoo.models.layers.transfer import on_device, on_host
from zoo.models.targets import GroundTruth
from zoo.structures import ImageGeometry

# Weight of the cells away from objects, and by how much of all cells the location loss is divided.
BACKGROUND_WEIGHT, CELLS_PER_UNIT = 0.1, 200
PSEUDO = {"type": "PseudoSampler"}


class GuidedAnchorHeadLike(AnchorHead, Protocol):
    """What these losses ask of a head."""

    approx_generator: PriorGenerator
    octave_base_scale: float

    def priors(self, maps: Sequence[Tensor], /) -> list[Tensor]:
        """Priors (P, 4) of each level. maps: any maps (N, ..., H, W) of these levels."""
        ...

    def shaped(self, squares: Tensor, sides: Tensor, /) -> Tensor:
        """Anchors (K, 4) that have predicted sides (K, 2) instead of those of their squares (K, 4)."""
        ...


def guided_losses(
    head: GuidedAnchorHeadLike,
    outputs: Sequence[Sequence[Tensor]],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """`loss_cls` and `loss_bbox` of the guided anchors, `loss_shape` of the anchors and `loss_loc` of the cells."""
    sizes, squares = [(x.shape[-2], x.shape[-1]) for x in outputs[0]], torch.cat(head.priors(outputs[0]))
    counts = [height * width for height, width in sizes]
    sides = flatten(outputs[2], 2)
    anchors = torch.stack([head.shaped(squares, x) for x in sides.detach()])
    matching = AnchorMatching(head.train_cfg, head.loss_cfg["cls"], head.num_classes)
    sampler = head.train_cfg.get("ga_sampler", PSEUDO)
    cells = ApproxMatching(head, {"assigner": head.train_cfg["ga_assigner"], "sampler": sampler}, matching.border)
    encode, images, shapes, total = unencoded if head.reg_decoded_bbox else head.bbox_coder.encode, [], [], 0
    for own, shape, geometry, ground_truth in zip(anchors, sides, geometries, ground_truths):
        inside = cells.inside(sizes, geometry, own.device)
        match = cells.match(sizes, inside, ground_truth)
        shapes.append((head.shaped(squares[match.positive], shape[match.positive]), ground_truth.boxes[match.matched]))
        total += max(len(match.positive), 1) + (max(len(match.negative), 1) if "ga_sampler" in head.train_cfg else 0)
        images.append(matching.image(own.split(counts), inside & matching.within(own, geometry), ground_truth, encode))
    losses = losses_of_targets(head, outputs, matching.collect(images), anchors, counts)
    result, wanted = (torch.cat(x) for x in zip(*shapes))
    losses["loss_shape"] = component(head.loss_cfg["shape"])(result, wanted, None, total)
    return {**losses, "loss_loc": location_loss(head, outputs[3], ground_truths)}


def guided_rpn_losses(
    head: GuidedAnchorHeadLike,
    outputs: Sequence[Sequence[Tensor]],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """`loss_rpn_cls`, `loss_rpn_bbox`, `loss_anchor_shape` and `loss_anchor_loc` of the one class that there is."""
    losses = guided_losses(head, outputs, geometries, class_agnostic(ground_truths))
    names = {"cls": "rpn_cls", "bbox": "rpn_bbox", "shape": "anchor_shape", "loc": "anchor_loc"}
    return {"loss_" + new: losses["loss_" + old] for old, new in names.items()}


def location_loss(head: GuidedAnchorHeadLike, maps: Sequence[Tensor], ground_truths: Sequence[GroundTruth]) -> Tensor:
    """The loss of location logits (N, 1, H, W). Its targets are made on the CPU: every object is a few slices."""
    sizes, device = [(x.shape[2], x.shape[3]) for x in maps], maps[0].device
    images = [location_targets(head, sizes, boxes) for boxes in on_host([target.boxes for target in ground_truths])]
    targets, weights = (on_device(parts, device) for parts in zip(*images))
    logits, cells = flatten(maps, 1).reshape(-1, 1), sum(x.numel() for x in maps)
    # As the reference does, also where it means the opposite: a focal loss of one class takes label 0 as the object,
    # label 1 as background.
    loss: Tensor = component(head.loss_cfg["loc"])(
        logits, torch.cat(targets), torch.cat(weights), cells / CELLS_PER_UNIT
    )
    return loss


def location_targets(
    head: GuidedAnchorHeadLike, sizes: Sequence[tuple[int, int]], boxes: Tensor
) -> tuple[Tensor, Tensor]:
    """Labels (P,) of all cells, 1 in the middle of an object of the level's size, and their weights (P,).

    Around the middle cells do not count, also on the levels above and below. sizes: (h, w) of each level. boxes: (M,
    4), on the CPU.
    """
    targets = [torch.zeros(size, dtype=torch.long) for size in sizes]
    weights = [boxes.new_full(size, BACKGROUND_WEIGHT) for size in sizes]
    claimed = [torch.zeros_like(t, dtype=torch.bool) for t in targets]
    near = [torch.zeros_like(t, dtype=torch.bool) for t in targets]
    strides, cfg = [s[0] for s in head.prior_generator.strides], head.train_cfg
    smallest = head.octave_base_scale * strides[0]
    levels = (area(boxes).sqrt() / smallest).log2().add(0.5).floor().clamp(0, len(sizes) - 1).int().tolist()
    for box, level in zip(boxes, levels):
        middle = region(box / strides[level], cfg["center_ratio"], targets[level])
        around = region(box / strides[level], cfg["ignore_ratio"], targets[level])
        targets[level][middle] = 1
        weights[level][around], weights[level][middle] = 0, 1
        claimed[level][around] = claimed[level][middle] = True
        for other in (level - 1, level + 1):
            if 0 <= other < len(sizes):
                near[other][region(box / strides[other], cfg["ignore_ratio"], targets[other])] = True
    for w, c, n in zip(weights, claimed, near):
        w[n & ~c] = 0
    return torch.cat([t.flatten() for t in targets]), torch.cat([w.flatten() for w in weights])


def region(box: Tensor, ratio: float, cells: Tensor) -> tuple[slice, slice]:
    """Rows and columns of the middle of a box (4,) in cells, `ratio` of its size, on a map (H, W)."""
    edge = (1 - ratio) / 2
    low = ((1 - edge) * box[:2] + edge * box[2:]).round().long().clamp(min=0).tolist()
    high = (edge * box[:2] + (1 - edge) * box[2:]).round().long().clamp(min=0).tolist()
    return slice(min(low[1], cells.shape[0]), high[1] + 1), slice(min(low[0], cells.shape[1]), high[0] + 1)
