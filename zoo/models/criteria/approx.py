"""Cells matched through several anchors each: what guided anchors and side-aware boundaries learn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from zoo.models.build import component
from zoo.models.criteria.anchor_head import AnchorMatching, Match
from zoo.models.criteria.protocols import PriorGenerator
from zoo.models.targets import GroundTruth
from zoo.structures import ImageGeometry


class ApproxHeadLike(Protocol):
    """What these losses ask of a head."""

    approx_generator: PriorGenerator
    prior_generator: PriorGenerator


class ApproxMatching:
    """Which cells stand for which objects, by the anchors of a head's `approx_generator` around each cell.

    cfg: `assigner`, `sampler`. border: how far anchors may reach beyond the image, negative for anywhere.
    """

    def __init__(self, head: ApproxHeadLike, cfg: Mapping[str, Any], border: float) -> None:
        self.assigner, self.sampler = component(cfg["assigner"]), component(cfg["sampler"])
        self.border, self.approxs, self.squares = border, head.approx_generator, head.prior_generator

    def inside(self, sizes: Sequence[tuple[int, int]], geometry: ImageGeometry, device: torch.device) -> Tensor:
        """Which cells (P,) have an anchor inside the image. sizes: (h, w) of the maps."""
        levels = self.approxs.grid_priors(sizes, device)
        cfg = {
            "assigner": {"type": "MaxIoUAssigner", "pos_iou_thr": 1, "neg_iou_thr": 1},
            "allowed_border": self.border,
        }
        flags = AnchorMatching(cfg, None, 1).inside(levels, sizes, self.approxs.strides, geometry)
        return self.grouped(flags).any(dim=1)

    def grouped(self, x: Tensor) -> Tensor:
        """Values of all anchors (P * A, ...) cell by cell, (P, A, ...)."""
        return x.unflatten(0, (-1, self.approxs.num_base_priors[0]))

    def match(self, sizes: Sequence[tuple[int, int]], inside: Tensor, ground_truth: GroundTruth) -> Match:
        """Which cells (P,) are positive, and for what."""
        where = inside.nonzero().flatten()
        approxs = self.grouped(torch.cat(self.approxs.grid_priors(sizes, inside.device)))[where]
        squares = torch.cat(self.squares.grid_priors(sizes, inside.device))[where]
        samples = self.sampler.sample(
            self.assigner.assign_groups(approxs, squares, ground_truth), squares, ground_truth
        )
        return Match(where[samples.positive], where[samples.negative], samples.matched)
