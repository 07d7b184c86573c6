"""Losses of side-aware boundaries (Wang et al., SABL, 2019, section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from zoo.models.build import component
from zoo.models.criteria.anchor_head import WITHOUT_SAMPLING, flatten
from zoo.models.criteria.approx import ApproxMatching
from zoo.models.criteria.protocols import ClassHead, PriorGenerator, TrainedHead
from zoo.models.targets import GroundTruth, Samples
from zoo.structures import ImageGeometry

PSEUDO = {"type": "PseudoSampler"}


class SideCoder(Protocol):
    """Encodes the sides of boxes. side_num: buckets of half a side. offset_topk: buckets of a side with an offset."""

    side_num: int
    offset_topk: int

    def encode(self, priors: Tensor, boxes: Tensor, /) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Offsets, their weights, bucket labels and their weights, each (K, 4 * S)."""
        ...


class SidesHead(ClassHead, Protocol):
    """A head that learns the sides of boxes."""

    bbox_coder: SideCoder


class SablHeadLike(SidesHead, TrainedHead, Protocol):
    """What these losses ask of a head."""

    cls_out_channels: int
    approx_generator: PriorGenerator
    prior_generator: PriorGenerator

    def priors(self, maps: Sequence[Tensor], /) -> list[Tensor]:
        """Priors (P, 4) of each level. maps: any maps (N, ..., H, W) of these levels."""
        ...


def sabl_retina_losses(
    head: SablHeadLike,
    outputs: Sequence[Sequence[Tensor]],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """`loss_cls`, and of the positives the sides' buckets, `loss_bbox_cls`, and offsets, `loss_bbox_reg`."""
    sampling = head.loss_cfg["cls"]["type"] not in WITHOUT_SAMPLING and "sampler" in head.train_cfg
    cfg = {"assigner": head.train_cfg["assigner"], "sampler": head.train_cfg["sampler"] if sampling else PSEUDO}
    matching = ApproxMatching(head, cfg, head.train_cfg.get("allowed_border", -1))
    sizes, squares = [(x.shape[-2], x.shape[-1]) for x in outputs[0]], torch.cat(head.priors(outputs[0]))
    width = 4 * head.bbox_coder.side_num
    logits, buckets = flatten(outputs[0], head.cls_out_channels), flatten(outputs[1], 2 * width)
    labels = torch.full(logits.shape[:2], head.num_classes, device=squares.device)
    weights, sides, count = squares.new_zeros(logits.shape[:2]), [], 0
    for i, (geometry, ground_truth) in enumerate(zip(geometries, ground_truths)):
        match = matching.match(sizes, matching.inside(sizes, geometry, squares.device), ground_truth)
        labels[i, match.positive] = ground_truth.labels[match.matched]
        weights[i, match.positive] = max(head.train_cfg.get("pos_weight", -1), 0) or 1.0
        weights[i, match.negative] = 1.0
        count += max(len(match.positive), 1) + (max(len(match.negative), 1) if sampling else 0)
        wanted = head.bbox_coder.encode(squares[match.positive], ground_truth.boxes[match.matched])
        sides.append((buckets[i, match.positive], *wanted))
    result, *targets = (torch.cat(x) for x in zip(*sides))
    loss_cls = component(head.loss_cfg["cls"])(logits.flatten(0, 1), labels.flatten(), weights.flatten(), count)
    averages = count * width, count * 4 * head.bbox_coder.offset_topk
    return {"loss_cls": loss_cls, **side_losses(head, tuple(result.chunk(2, dim=1)), targets, averages)}


def side_losses(
    head: SidesHead, result: Sequence[Tensor], targets: Sequence[Tensor], averages: tuple[float, float]
) -> dict[str, Tensor]:
    """`loss_bbox_cls` and `loss_bbox_reg`.

    result: bucket logits and offsets (K, 4 * S). targets: what the coder's `encode` returned. averages: divisors.
    """
    offsets, offset_weights, labels, label_weights = targets
    loss_cls, loss_reg = (component(head.loss_cfg[key]) for key in ("bbox_cls", "bbox_reg"))
    rows = [x.reshape(-1, head.bbox_coder.side_num) for x in (result[0], labels, label_weights)]
    return {
        "loss_bbox_cls": loss_cls(*rows, averages[0]),
        "loss_bbox_reg": loss_reg(result[1], offsets, offset_weights, averages[1]),
    }


def region_losses(
    head: SidesHead,
    logits: Tensor,
    result: Sequence[Tensor],
    samples: Sequence[Samples],
    ground_truths: Sequence[GroundTruth],
) -> tuple[dict[str, Tensor], Tensor]:
    """`loss_cls` of sampled regions (K,) and the losses of the positives' sides, and the regions' labels (K,)."""
    labels, positive, wanted, start = [], [], [], 0
    for s, ground_truth in zip(samples, ground_truths):
        background = ground_truth.labels.new_full((len(s.negative),), head.num_classes)
        labels.append(torch.cat([ground_truth.labels[s.matched], background]))
        positive.append(torch.arange(start, start + len(s.positive), device=logits.device))
        wanted.append(head.bbox_coder.encode(s.boxes[s.positive], ground_truth.boxes[s.matched]))
        start += len(labels[-1])
    index, targets = torch.cat(positive), [torch.cat(x) for x in zip(*wanted)]
    loss_cls = component(head.loss_cfg["cls"])(logits, torch.cat(labels), None, max(start, 1))
    averages = float(max(start, 1) * 4), float(max(start, 1))
    losses = {"loss_cls": loss_cls, **side_losses(head, [x[index] for x in result], targets, averages)}
    return losses, torch.cat(labels)
