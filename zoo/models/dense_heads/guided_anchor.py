"""Anchors whose positions and shapes are predicted (Wang et al., Region Proposal by Guided Anchoring, 2019)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.build import component
from zoo.models.dense_heads.anchor_head import AnchorHead
from zoo.models.dense_heads.rpn import larger_than
from zoo.models.dense_heads.selection import Level, flatten_map
from zoo.models.dense_heads.towers import init_dense, over_levels, run, tower
from zoo.models.layers.deform_conv import DeformConv
from zoo.models.layers.fast_conv import FastConv2d
from zoo.models.layers.masked_conv import MaskedConv2d
from zoo.models.layers.nms import multiclass_nms
from zoo.models.layers.vision_operators import nms
from zoo.structures import Detections, ImageGeometry

# A predicted side may be a million times its square's: shapes are not limited as regressed boxes are.
MAX_SHAPE_RATIO = abs(math.log(1e-6))

Maps = list[Tensor]


class FeatureAdaption(nn.Module):
    """A deformable convolution whose offsets follow from the predicted anchor shapes."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3, deform_groups: int = 4) -> None:
        super().__init__()
        self.conv_offset = nn.Conv2d(2, deform_groups * 2 * kernel_size**2, 1, bias=False)
        self.conv_adaption = DeformConv(
            in_channels, out_channels, kernel_size, padding=(kernel_size - 1) // 2, deform_groups=deform_groups
        )
        self.init_weights()

    def init_weights(self) -> None:
        """Offsets that are larger at first than the other outputs."""
        nn.init.normal_(self.conv_offset.weight, std=0.1)
        nn.init.normal_(self.conv_adaption.weight, std=0.01)

    def forward(self, x: Tensor, shapes: Tensor) -> Tensor:
        """Features (N, in_channels, H, W) and shapes (N, 2, H, W) to features (N, out_channels, H, W)."""
        return F.relu(self.conv_adaption(x, self.conv_offset(shapes.detach())))


class GuidedAnchorHead(AnchorHead):
    """Base: one anchor per cell, of a predicted shape, at the cells that a location map chooses.

    square_anchor_generator: the squares whose width and height are predicted, coded by `anchor_coder`.
    approx_anchor_generator: the anchors that shapes are assigned by in training. loc_filter_thr: cells below this
    score have no anchor.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        approx_anchor_generator: Mapping[str, Any],
        square_anchor_generator: Mapping[str, Any],
        anchor_coder: Mapping[str, Any],
        deform_groups: int = 4,
        loc_filter_thr: float = 0.01,
        loss_loc: Mapping[str, Any] | None = None,
        loss_shape: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, in_channels, anchor_generator=square_anchor_generator, **kwargs)
        self.approx_generator, self.anchor_coder = component(approx_anchor_generator), component(anchor_coder)
        self.octave_base_scale = approx_anchor_generator.get("octave_base_scale", 8)
        self.deform_groups, self.loc_filter_thr = deform_groups, loc_filter_thr
        self.loss_cfg.update(loc=loss_loc, shape=loss_shape)
        self.conv_loc = nn.Conv2d(self.feat_channels, 1, 1)
        self.conv_shape = nn.Conv2d(self.feat_channels, self.num_base_priors * 2, 1)

    def init_weights(self, *rare: nn.Conv2d) -> None:
        """Small weights; the outputs of `rare` and the locations start as improbable."""
        init_dense(self, self.conv_loc, *rare)
        for module in self.modules():
            if isinstance(module, FeatureAdaption):
                module.init_weights()

    def forward(self, features: Sequence[Tensor]) -> tuple[Maps, Maps, Maps, Maps]:
        """Per level (N, C, H, W): class logits (N, C, H, W), deltas (N, 4, H, W), shapes (N, 2, H, W) and location
        logits (N, 1, H, W). In evaluation, logits and deltas are zero where there is no anchor."""
        return over_levels(self.forward_level, features)  # type: ignore[return-value]

    def forward_level(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """One level's maps."""
        raise NotImplementedError

    def chosen(self, locations: Tensor) -> Tensor | None:
        """Where there are anchors, (N, H, W) bool, from location logits (N, 1, H, W); None in training: everywhere."""
        return None if self.training else locations[:, 0].sigmoid() >= self.loc_filter_thr

    def levels(self, outputs: Sequence[Sequence[Tensor]], image: int) -> list[Level]:
        """One image's predictions at its anchors, level by level."""
        *predictions, shapes, locations = outputs
        return [
            self.guided(level, shape[image], location[image])
            for level, shape, location in zip(super().levels(predictions, image), shapes, locations)
        ]

    def guided(self, level: Level, shapes: Tensor, locations: Tensor) -> Level:
        """A level's predictions at its anchors only, whose shapes replace the squares.

        shapes: (2, H, W). locations: (1, H, W) logits.
        """
        if self.training:
            return replace(level, priors=self.shaped(level.priors, flatten_map(shapes, 2)))
        index = (locations.sigmoid() >= self.loc_filter_thr).flatten().nonzero().squeeze(1)
        anchors = self.shaped(level.priors[index], flatten_map(shapes, 2)[index])
        return Level(level.scores[index], level.regression[index], anchors)

    def shaped(self, squares: Tensor, sides: Tensor) -> Tensor:
        """Anchors (K, 4) that have predicted sides (K, 2) instead of those of their squares (K, 4)."""
        deltas = torch.cat([torch.zeros_like(sides), sides], dim=1)
        anchors: Tensor = self.anchor_coder.decode(squares, deltas, max_log_scale=MAX_SHAPE_RATIO)
        return anchors


class GARPNHead(GuidedAnchorHead):
    """Proposals from guided anchors."""

    def __init__(self, in_channels: int, **kwargs: Any) -> None:
        super().__init__(1, in_channels, **kwargs)
        channels = self.feat_channels
        self.rpn_conv = FastConv2d(in_channels, channels, 3, padding=1)
        self.feature_adaption = FeatureAdaption(channels, channels, deform_groups=self.deform_groups)
        self.conv_cls = MaskedConv2d(channels, self.num_base_priors * self.cls_out_channels, 1)
        self.conv_reg = MaskedConv2d(channels, self.num_base_priors * 4, 1)
        self.init_weights()

    def forward_level(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """One level's maps."""
        x = F.relu(self.rpn_conv(x))
        locations, shapes = self.conv_loc(x), self.conv_shape(x)
        x, mask = self.feature_adaption(x, shapes), self.chosen(locations)
        positions = None if mask is None else mask.nonzero(as_tuple=True)
        return self.conv_cls(x, mask, positions), self.conv_reg(x, mask, positions), shapes, locations

    def predict(
        self,
        outputs: Sequence[Sequence[Tensor]],
        geometries: Sequence[ImageGeometry],
        cfg: Mapping[str, Any] | None = None,
    ) -> list[Detections]:
        """Proposals in input coordinates: each level suppressed alone and cut to `nms_post`, the best `max_per_img`.

        outputs: what `forward` returned. geometries: one per image. cfg: instead of the head's `test_cfg`.
        """
        return [
            self.best(self.levels(outputs, i), geometry, cfg or self.test_cfg) for i, geometry in enumerate(geometries)
        ]

    def best(self, levels: Sequence[Level], geometry: ImageGeometry, cfg: Mapping[str, Any]) -> Detections:
        """One image's proposals."""
        result = [self.propose(level, geometry, cfg) for level in levels]
        boxes, scores = torch.cat([b for b, _ in result]), torch.cat([s for _, s in result])
        if cfg.get("nms_across_levels", False):
            order = nms(boxes, scores, cfg["nms"]["iou_threshold"])[: cfg["max_per_img"]]
        else:
            order = scores.topk(min(cfg["max_per_img"], len(scores))).indices
        return Detections(boxes[order], scores[order], torch.zeros_like(order))

    def propose(self, level: Level, geometry: ImageGeometry, cfg: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """One level's boxes (K, 4) and scores (K,), best first."""
        level = best_anchors(level, cfg["nms_pre"])
        boxes, scores = self.decode(level.priors, level.regression, geometry.size), level.scores[:, 0]
        large = larger_than(boxes, cfg.get("min_bbox_size", -1))
        boxes, scores = boxes[large], scores[large]
        keep = nms(boxes, scores, cfg["nms"]["iou_threshold"])[: cfg["nms_post"]]
        return boxes[keep], scores[keep]


class GARetinaHead(GuidedAnchorHead):
    """RetinaNet's head on guided anchors."""

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        stacked_convs: int = 4,
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        channels = self.feat_channels
        options: dict[str, Any] = {"conv_cfg": conv_cfg, "norm_cfg": norm_cfg}
        self.cls_convs = tower(in_channels, channels, stacked_convs, **options)
        self.reg_convs = tower(in_channels, channels, stacked_convs, **options)
        self.feature_adaption_cls = FeatureAdaption(channels, channels, deform_groups=self.deform_groups)
        self.feature_adaption_reg = FeatureAdaption(channels, channels, deform_groups=self.deform_groups)
        self.retina_cls = MaskedConv2d(channels, self.num_base_priors * self.cls_out_channels, 3, padding=1)
        self.retina_reg = MaskedConv2d(channels, self.num_base_priors * 4, 3, padding=1)
        self.init_weights(self.retina_cls)

    def forward_level(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """One level's maps."""
        x_cls, x_reg = run(self.cls_convs, x), run(self.reg_convs, x)
        locations, shapes = self.conv_loc(x_cls), self.conv_shape(x_reg)
        mask = self.chosen(locations)
        positions = None if mask is None else mask.nonzero(as_tuple=True)
        logits = self.retina_cls(self.feature_adaption_cls(x_cls, shapes), mask, positions)
        deltas = self.retina_reg(self.feature_adaption_reg(x_reg, shapes), mask, positions)
        return logits, deltas, shapes, locations

    def predict_one(self, levels: list[Level], geometry: ImageGeometry) -> Detections:
        """Detections: the best `nms_pre` anchors of each level, suppressed within classes."""
        cfg = self.test_cfg
        best = [best_anchors(level, cfg.get("nms_pre", -1)) for level in levels]
        boxes = torch.cat([self.decode(level.priors, level.regression, geometry.size) for level in best])
        scores = torch.cat([level.scores for level in best])
        return multiclass_nms(boxes, scores, cfg["score_thr"], cfg["nms"], cfg["max_per_img"])


def best_anchors(level: Level, nms_pre: int) -> Level:
    """The `nms_pre` anchors with the best scores of any class; the level as it is if it has no more than that."""
    if not 0 < nms_pre < len(level.scores):
        return level
    order = level.scores.max(dim=1).values.topk(nms_pre).indices
    return Level(level.scores[order], level.regression[order], level.priors[order])
