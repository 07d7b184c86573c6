"""What training knows about an image, and how it is matched with priors and regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

BACKGROUND, IGNORED = -1, -2


@dataclass
class GroundTruth:
    """The objects of one image.

    boxes: (M, 4) xyxy in input coordinates. labels: (M,). masks: (M, H, W) or None. ignored: (I, 4) boxes of crowds,
    in which nothing counts as background. proposals: (R, 4), for Fast R-CNN only. semantic: (h, w), classes of all
    pixels of the padded image at any resolution, 255 for unknown, for heads that segment. keypoints: (M, P, 3) as x, y
    in input coordinates and visibility, 0 for unknown.
    """

    boxes: Tensor
    labels: Tensor
    masks: Tensor | None = None
    ignored: Tensor | None = None
    proposals: Tensor | None = None
    semantic: Tensor | None = None
    keypoints: Tensor | None = None

    @classmethod
    def of(cls, target: Mapping[str, Tensor], device: torch.device) -> GroundTruth:
        """From what a caller of `losses` gives: `boxes`, `labels`, and the others where there are any."""
        parts = {key: value.to(device) for key, value in target.items()}
        return cls(parts.pop("boxes").float(), parts.pop("labels").long(), **parts)

    def __len__(self) -> int:
        return len(self.labels)


def ground_truths(targets: Sequence[Mapping[str, Tensor]], device: torch.device) -> list[GroundTruth]:
    """One `GroundTruth` per image."""
    return [GroundTruth.of(target, device) for target in targets]


def numbered_through(index: Sequence[Tensor], ground_truths: Sequence[GroundTruth]) -> Tensor:
    """Objects (N, P) of the priors of N images, numbered through the batch; negative numbers stay. index: (P,) each."""
    starts = accumulate(map(len, ground_truths), initial=0)
    return torch.stack([torch.where(own >= 0, own + start, own) for own, start in zip(index, starts)])


@dataclass
class Assignment:
    """For each of P priors: the index of its object, BACKGROUND or IGNORED, and its overlap with that object."""

    index: Tensor
    overlaps: Tensor


class Pairs(NamedTuple):
    """The queries of an image that have an object. query: (K,), rising. objects: (K,), which one each of them has."""

    query: Tensor
    objects: Tensor


@dataclass
class Samples:
    """The priors or regions of one image that are learned from.

    boxes: (P, 4), all candidates; ground truth boxes come first where they take part. positive, negative: indices into
    them. matched: for each positive, the index of its object. is_ground_truth:
    (P,) whether a candidate is a ground truth box.
    """

    boxes: Tensor
    positive: Tensor
    negative: Tensor
    matched: Tensor
    is_ground_truth: Tensor

    @property
    def regions(self) -> Tensor:
        """The sampled boxes, positives first."""
        return torch.cat([self.boxes[self.positive], self.boxes[self.negative]])
