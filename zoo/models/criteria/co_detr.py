"""Losses of Co-DETR: other heads train the encoder, and their positives the decoder (Zong et al., 2023)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from zoo.models.assigners.hungarian import extent
from zoo.models.box_ops import box_convert
from zoo.models.criteria.anchor_head import anchor_targets
from zoo.models.criteria.detr import DetrHeadLike, Layer, by_layer, matched_losses
from zoo.models.criteria.protocols import AnchorHead, StandardHead
from zoo.models.criteria.roi_sampling import box_targets
from zoo.models.criteria.standard_roi import sampled_box_losses
from zoo.models.criteria.table import dense_losses
from zoo.models.query_heads.co_dino_head import CoDinoTransformer
from zoo.models.roi_heads.extractor import rois_of
from zoo.models.targets import GroundTruth, Pairs
from zoo.models.transformer.deformable_transformer import Memory
from zoo.structures import ImageGeometry

FEWEST = 9
"""At least so many candidates of a head become queries."""


@dataclass
class Candidates:
    """What a head learns from in one image.

    boxes: (K, 4) xyxy. labels: (K,), the number of classes for background. targets: (K, 4) xyxy, of the positives'
    objects. features: (K, C), or None.
    """

    boxes: Tensor
    labels: Tensor
    targets: Tensor
    features: Tensor | None = None

    def __getitem__(self, index: Tensor) -> Candidates:
        """Some of them."""
        features = None if self.features is None else self.features[index]
        return Candidates(self.boxes[index], self.labels[index], self.targets[index], features)


class CoHeadLike(DetrHeadLike, Protocol):
    """The query head: what decodes queries made of another head's candidates."""

    max_pos_coords: int
    transformer: CoDinoTransformer

    def decode(self, states: Tensor, boxes: Tensor, memory: Memory, /) -> tuple[Tensor, Tensor]:
        """Class logits (layers, N, Q, classes) and boxes (layers, N, Q, 4) of queries (N, Q, C) at boxes (N, Q, 4)."""
        ...


class AuxiliaryHead(AnchorHead, Protocol):
    """A dense head beside the query head."""

    def __call__(self, maps: Sequence[Tensor], /) -> Sequence[Sequence[Tensor]]:
        """Class logits and box predictions, each per level, of a pyramid (N, C, H, W)."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """Its weights."""
        ...


def region_losses(
    head: StandardHead, maps: Sequence[Tensor], proposals: Sequence[Tensor], ground_truths: Sequence[GroundTruth]
) -> tuple[dict[str, Tensor], list[Candidates]]:
    """A region head's losses, and the regions that it learned from."""
    samples, losses = sampled_box_losses(head, maps, proposals, ground_truths)
    regions = [s.regions for s in samples]
    labels, _, targets = box_targets(head.bbox_head, samples, ground_truths, head.train_cfg)
    features = head.bbox_roi_extractor(maps, rois_of(regions)).mean(dim=(2, 3))
    counts = [len(x) for x in regions]
    fewest = torch.arange(min(counts), device=labels.device)
    parts = zip(regions, labels.split(counts), targets.split(counts), features.split(counts))
    return losses, [Candidates(*part)[fewest] for part in parts]


def anchor_losses(
    head: AuxiliaryHead,
    maps: Sequence[Tensor],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> tuple[dict[str, Tensor], list[Candidates]]:
    """A dense head's losses, and the anchors that it learned from."""
    outputs = head(maps)
    targets, levels = anchor_targets(head, outputs[0], geometries, ground_truths, absolute=True)
    anchors, cells = torch.cat(levels), torch.cat([x.flatten(2) for x in maps], dim=2).transpose(1, 2)
    features = cells.repeat_interleave(len(anchors) // cells.shape[1], dim=1)
    result = zip(targets.labels, targets.boxes, features)
    candidates = [Candidates(anchors, labels, boxes, x) for labels, boxes, x in result]
    return dense_losses(head, outputs, geometries, ground_truths), candidates


def auxiliary_losses(
    head: CoHeadLike,
    number: int,
    memory: Memory,
    candidates: Sequence[Candidates],
    geometries: Sequence[ImageGeometry],
) -> dict[str, Tensor]:
    """The query head's losses of queries made of another head's candidates: "loss_cls_aux" and so on, per layer.

    number: of the other head. memory: the encoded pyramid.
    """
    counts = totals(candidates, head.num_classes)
    count = max(FEWEST, min(head.max_pos_coords, max(positives for positives, _ in counts)))
    picked = [choose(c, own, count, head.num_classes) for c, own in zip(candidates, counts)]
    scales = [extent(geometry.size, c.boxes) for geometry, c in zip(geometries, candidates)]
    boxes = torch.stack([box_convert(c.boxes / scale, "xyxy", "cxcywh") for c, scale in zip(picked, scales)])
    features = torch.stack([c.features for c in picked])  # type: ignore[misc]
    states = head.transformer.queries_of(number, boxes.clamp(1e-5, 1 - 1e-5), features)
    logits, result = head.decode(states, boxes, memory)
    objects = [torch.arange(min(positives, count), device=logits.device) for positives, _ in counts]
    wanted = [GroundTruth(c.targets[: len(own)], c.labels[: len(own)]) for c, own in zip(picked, objects)]
    pairs = [Pairs(own, own) for own in objects]
    layers = [matched_losses(head, Layer(x, b, wanted), pairs, geometries) for x, b in zip(logits, result)]
    return by_layer([{f"{name}_aux": value for name, value in layer.items()} for layer in layers])


def totals(candidates: Sequence[Candidates], background: int) -> list[list[int]]:
    """How many positives and negatives each image has; a GPU is waited for once."""
    sums = [torch.stack([(c.labels < background).sum(), (c.labels == background).sum()]) for c in candidates]
    counts: list[list[int]] = torch.stack(sums).tolist()
    return counts


def choose(candidates: Candidates, counts: Sequence[int], count: int, background: int) -> Candidates:
    """`count` candidates: positives, some of them where there are more, and random negatives behind them.

    counts: how many positives and negatives there are.
    """
    positives = first(candidates.labels < background, counts[0])
    if len(positives) > count:
        positives = positives[torch.randperm(len(positives), device=positives.device)[:count]]
    negatives = first(candidates.labels == background, counts[1])
    order = torch.randperm(len(negatives), device=negatives.device)[: count - len(positives)]
    return candidates[torch.cat([positives, negatives[order]])]


def first(chosen: Tensor, count: int) -> Tensor:
    """The indices (count,) of the chosen ones (P,) bool, which are known to be so many: no GPU is waited for."""
    return chosen.nonzero_static(size=count).squeeze(1)
