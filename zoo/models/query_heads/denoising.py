"""Contrastive denoising: queries made of noisy ground truth, which training must restore (DINO, 2023, section 3.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.box_ops import box_convert
from zoo.models.layers.constants import constant
from zoo.models.layers.tracing import at_most
from zoo.models.targets import GroundTruth, Pairs
from zoo.models.transformer.inverse_sigmoid import inverse_sigmoid
from zoo.structures import ImageGeometry


@dataclass
class Denoising:
    """Queries of ground truth with noise, D for each of N images.

    states: (N, D, C). boxes: (N, D, 4) cxcywh logits. mask: (D + Q, D + Q) bool, True where one query must not look at
    another. pairs: per image the objects that queries must restore; the others must say that they are background.
    """

    states: Tensor
    boxes: Tensor
    mask: Tensor
    pairs: list[Pairs]

    @property
    def count(self) -> int:
        """How many there are per image, D."""
        return self.states.shape[1]

    def mask_for(self, queries: int) -> Tensor:
        """The mask where a small image has fewer matching queries than there are elsewhere."""
        return self.mask[: self.count + queries, : self.count + queries]


class DenoisingQueries(nn.Module):
    """Groups of queries; in each one, every object once with little noise and once, as background, with more.

    label_noise_scale: twice the share of labels that are replaced. box_noise_scale: relative to the boxes' sizes.
    group_cfg: `num_dn_queries`, shared out among the objects (`dynamic`), or a fixed `num_groups`. num_queries: the
    matching queries, which must not see these.
    """

    def __init__(
        self,
        num_classes: int,
        channels: int,
        num_queries: int,
        label_noise_scale: float = 0.5,
        box_noise_scale: float = 1.0,
        group_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.num_classes, self.num_queries = num_classes, num_queries
        self.label_noise_scale, self.box_noise_scale = label_noise_scale, box_noise_scale
        self.group_cfg = group_cfg or {}
        self.label_embedding = nn.Embedding(num_classes, channels)

    def forward(self, ground_truths: Sequence[GroundTruth], geometries: Sequence[ImageGeometry]) -> Denoising:
        """The queries of a batch: as many for each image as the one with most objects needs."""
        most = max(len(x) for x in ground_truths)
        groups = self.groups(most)
        parts = [self.of_image(*pair, most, groups) for pair in zip(ground_truths, geometries)]
        states, boxes, pairs = zip(*parts)
        mask = group_mask(2 * most, groups, self.num_queries, boxes[0].device)
        return Denoising(torch.stack(states), torch.stack(boxes), mask, list(pairs))

    def groups(self, most: int) -> int:
        """How many groups, for at most so many objects per image."""
        if not self.group_cfg.get("dynamic", True):
            return max(int(self.group_cfg["num_groups"]), 1)
        return max(self.group_cfg.get("num_dn_queries", 100) // most, 1) if most else 1

    def of_image(
        self, ground_truth: GroundTruth, geometry: ImageGeometry, most: int, groups: int
    ) -> tuple[Tensor, Tensor, Pairs]:
        """States (D, C), box logits (D, 4) and objects of one image; zeros fill it up to the one with most."""
        objects, rows = len(ground_truth), 2 * groups
        height, width = geometry.size
        scale = constant((width, height, width, height), ground_truth.boxes)
        states = self.label_embedding(self.noisy_labels(ground_truth.labels.repeat(rows, 1)))
        boxes = ground_truth.boxes.new_zeros(rows, most, 4)
        boxes[:, :objects] = self.noisy_boxes((ground_truth.boxes / scale).repeat(rows, 1, 1))
        numbers = torch.arange(objects, device=boxes.device)
        start = torch.arange(groups, device=boxes.device)[:, None] * 2 * most  # of each group's rows with little noise
        padded = nn.functional.pad(states, (0, 0, 0, most - objects))
        return padded.flatten(0, 1), boxes.flatten(0, 1), Pairs((start + numbers).flatten(), numbers.repeat(groups))

    def noisy_labels(self, labels: Tensor) -> Tensor:
        """Labels of any shape, some of them replaced by random ones."""
        replaced = torch.rand(labels.shape, device=labels.device) < self.label_noise_scale * 0.5
        return torch.where(replaced, torch.randint_like(labels, 0, self.num_classes), labels)

    def noisy_boxes(self, boxes: Tensor) -> Tensor:
        """Boxes (2 * groups, M, 4) xyxy in [0, 1] as noisy logits of cxcywh; every second row has more noise."""
        amount = torch.rand_like(boxes)
        amount[1::2] += 1
        amount = amount * (torch.randint_like(boxes, 0, 2) * 2 - 1)
        sizes = (boxes[..., 2:] - boxes[..., :2]).repeat(1, 1, 2)
        noisy = (boxes + amount * sizes * self.box_noise_scale / 2).clamp(0, 1)
        return inverse_sigmoid(box_convert(noisy, "xyxy", "cxcywh"), eps=1e-3)


def group_mask(size: int, groups: int, num_queries: int, device: torch.device) -> Tensor:
    """Groups of `size` queries see themselves and the matching queries behind them, which see none of them."""
    group = torch.arange(size * groups, device=device) // max(size, 1)
    mask = torch.zeros(2 * (len(group) + num_queries,), dtype=torch.bool, device=device)
    mask[len(group) :, : len(group)] = True
    mask[: len(group), : len(group)] = group[:, None] != group
    return mask


def best_proposals(logits: Tensor, boxes: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The proposals (N, S, ...) with the best classes, (N, count, ...), best first."""
    order = logits.amax(-1).topk(at_most(count, logits.shape[1]), dim=1)[1][..., None]
    return tuple(x.gather(1, order.expand(-1, -1, x.shape[-1])) for x in (logits, boxes))  # type: ignore[return-value]


def with_noise(states: Tensor, boxes: Tensor, noise: Denoising | None) -> tuple[Tensor, Tensor]:
    """Queries' states (N, Q, C) and box logits (N, Q, 4), with denoising queries in front of them."""
    if noise is None:
        return states, boxes
    return torch.cat([noise.states, states], dim=1), torch.cat([noise.boxes, boxes], dim=1)
