"""Losses of DDOD: classes and boxes have assignments of their own (Chen et al., 2021, section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from zoo.models.box_ops import aligned_iou
from zoo.models.build import component
from zoo.models.criteria.anchor_head import AnchorMatching, AnchorTargets, Match, flatten, unencoded
from zoo.models.criteria.protocols import DenseHead, PriorGenerator, TrainedHead
from zoo.models.criteria.state import memory_of
from zoo.models.losses.reduction import mean_over_processes
from zoo.models.targets import GroundTruth
from zoo.structures import ImageGeometry


class DdodHeadLike(DenseHead, TrainedHead, Protocol):
    """What these losses ask of a head."""

    prior_generator: PriorGenerator

    def priors(self, maps: Sequence[Tensor], /) -> list[Tensor]:
        """Priors (P, 4) of each level. maps: any maps (N, ..., H, W) of these levels."""
        ...


def ddod_losses(
    head: DdodHeadLike,
    outputs: Sequence[Sequence[Tensor]],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """`loss_cls`, `loss_bbox` and `loss_iou`; levels with few positives so far count up to twice as much."""
    logits, deltas, quality = (flatten(x, c) for x, c in zip(outputs, (head.cls_out_channels, 4, 1)))
    levels = head.priors(outputs[0])
    counts, anchors = [len(level) for level in levels], torch.cat(levels)
    predicted = logits.detach(), torch.stack([head.bbox_coder.decode(anchors, d) for d in deltas.detach()])
    targets = {key: match(head, key, levels, outputs[0], predicted, geometries, ground_truths) for key in KINDS}
    own = targets["assigner"]
    loss_cls, loss_bbox, loss_iou = (component(head.loss_cfg[key]) for key in ("cls", "bbox", "iou"))
    weight, average = own.label_weights, averaged(own, logits)
    factors = level_factors(head, own.labels, counts)
    scores = [
        factor * loss_cls(x.flatten(0, 1), label.flatten(), w.flatten(), average)
        for factor, x, label, w in zip(factors, *(t.split(counts, dim=1) for t in (logits, own.labels, weight)))
    ]
    own = targets["reg_assigner"]
    factor = torch.cat([anchors.new_full((n,), f) for n, f in zip(counts, level_factors(head, own.labels, counts))])
    average, positive = averaged(own, logits), (own.owners >= 0).nonzero(as_tuple=True)
    result = head.bbox_coder.decode(anchors.expand(len(geometries), -1, 4)[positive], deltas[positive])
    wanted, factor = own.boxes[positive], factor.expand(len(geometries), -1)[positive]
    overlaps = aligned_iou(result.detach(), wanted)
    expected = quality[positive]
    return {
        "loss_cls": torch.stack(scores).sum(),
        "loss_bbox": loss_bbox(result, wanted, factor, average),
        "loss_iou": loss_iou(expected, overlaps[:, None], factor[:, None], average),
    }


# Which setting assigns what: `assigner` the classes, `reg_assigner` the boxes.
KINDS = ("assigner", "reg_assigner")


def match(
    head: DdodHeadLike,
    key: str,
    levels: Sequence[Tensor],
    maps: Sequence[Tensor],
    predicted: tuple[Tensor, Tensor],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> AnchorTargets:
    """Targets by one of the two assigners. predicted: class logits (N, P, C) and boxes (N, P, 4)."""
    cfg = {**head.train_cfg, "assigner": head.train_cfg[key]}
    matching = AnchorMatching(cfg, head.loss_cfg["cls"], head.num_classes)
    sizes, anchors = [(x.shape[-2], x.shape[-1]) for x in maps], torch.cat(list(levels))
    images = []
    for geometry, ground_truth, logits, boxes in zip(geometries, ground_truths, *predicted):
        inside = matching.inside(levels, sizes, head.prior_generator.strides, geometry)
        counts = torch.stack([part.sum() for part in inside.split([len(level) for level in levels])]).tolist()
        where = inside.nonzero().flatten()
        result = matching.assigner.assign(anchors[where], counts, ground_truth, logits[where], boxes[where])
        samples = matching.sampler.sample(result, anchors[where], ground_truth)
        own = Match(where[samples.positive], where[samples.negative], samples.matched)
        images.append(matching.fill(anchors, own, ground_truth, unencoded))
    return matching.collect(images)


def averaged(targets: AnchorTargets, like: Tensor) -> Tensor:
    """The mean number of positives over the processes, at least one."""
    return mean_over_processes(like.new_full((), float(targets.positives))).clamp(min=1)


def level_factors(head: DdodHeadLike, labels: Tensor, counts: Sequence[int]) -> list[float]:
    """A factor from 1 to 2 for each level, by the positives that all levels have had so far. labels: (N, P)."""
    memory = memory_of(head)
    now = torch.stack([(part < head.num_classes).sum() for part in labels.split(list(counts), dim=1)])
    total = memory.get("positives", torch.zeros_like(now)).to(now) + now
    memory["positives"] = total
    positives = total.tolist()
    least, spread = min(positives), max(positives) - min(positives)
    return [2.0 - (n - least) / (spread + 1e-10) for n in positives]
