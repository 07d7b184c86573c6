"""Cascade RPN: proposals refined in stages, with convolutions that follow the anchors (Vu et al., 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.build import component
from zoo.models.dense_heads.anchor_head import AnchorHead
from zoo.models.dense_heads.rpn import propose
from zoo.models.dense_heads.selection import Level, class_scores, flatten_map
from zoo.models.dense_heads.towers import init_dense
from zoo.models.layers.deform_conv import DeformConv
from zoo.models.layers.precision import full_precision
from zoo.models.priors.grid import cell_corners
from zoo.structures import Detections, ImageGeometry

ANCHORS = {"type": "AnchorGenerator", "scales": [8], "ratios": [1.0], "strides": [4, 8, 16, 32, 64]}
DILATION = {"type": "dilation", "dilation": 3}


class CascadeRPNHead(nn.Module):
    """Stages in a row, each with the boxes of the one before it as anchors."""

    def __init__(
        self,
        num_stages: int,
        stages: Sequence[Mapping[str, Any]],
        train_cfg: Any = None,
        test_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.num_stages, self.train_cfg, self.test_cfg = num_stages, train_cfg or [], test_cfg or {}
        self.stages = nn.ModuleList(
            component(stage, test_cfg=test_cfg, train_cfg=train_cfg[i] if train_cfg else None)
            for i, stage in enumerate(stages)
        )

    def forward(self, features: Sequence[Tensor]) -> Sequence[Tensor]:
        """The features as they are: stages need to know the images' extents, see `predict`."""
        return features

    def predict(
        self, features: Sequence[Tensor], geometries: Sequence[ImageGeometry], cfg: Any = None
    ) -> list[Detections]:
        """Proposals of each image, label 0, by the head's `test_cfg` in training too, as in the reference.

        features: per level (N, C, H, W). cfg: without effect.
        """
        stages: list[Any] = list(self.stages)
        features = [x.to(stages[0].rpn_reg.weight) for x in features]
        anchors = stages[0].initial_anchors(features)
        for stage in stages[:-1]:
            features, _, deltas = stage(features, anchors)
            anchors = stage.refine(anchors, full_precision(deltas), geometries)
        _, logits, deltas = full_precision(stages[-1](features, anchors))
        return [stages[-1].propose(anchors, logits, deltas, i, geometry) for i, geometry in enumerate(geometries)]


class StageCascadeRPNHead(AnchorHead):
    """One stage, with one anchor per cell.

    Its convolution is dilated or follows the anchors, as `adapt_cfg` says. bridged_feature: the next stage sees this
    one's features. with_cls: whether it scores its boxes, as the last stage must. sampling: whether training takes a
    sample of the anchors.
    """

    def __init__(
        self,
        in_channels: int,
        anchor_generator: Mapping[str, Any] = ANCHORS,
        adapt_cfg: Mapping[str, Any] = DILATION,
        bridged_feature: bool = False,
        with_cls: bool = True,
        sampling: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(1, in_channels, anchor_generator=anchor_generator, **kwargs)
        self.bridged_feature, self.sampling = bridged_feature, sampling
        self.rpn_conv = AdaptiveConv(in_channels, self.feat_channels, **adapt_cfg)
        self.rpn_cls = (
            nn.Conv2d(self.feat_channels, self.num_base_priors * self.cls_out_channels, 1) if with_cls else None
        )
        self.rpn_reg = nn.Conv2d(self.feat_channels, self.num_base_priors * 4, 1)
        init_dense(self)

    def initial_anchors(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Per level (N, H * W, 4) xyxy: the same for all images."""
        sizes = [(x.shape[-2], x.shape[-1]) for x in features]
        priors = self.prior_generator.grid_priors(sizes, features[0].device)
        return [p.expand(len(features[0]), -1, 4) for p in priors]

    def forward(self, features: Sequence[Tensor], anchors: Sequence[Tensor]) -> tuple[list[Tensor], Any, list[Tensor]]:
        """The next stage's features, and per level logits (N, 1, H, W) (None without classification) and deltas.

        features: per level (N, C, H, W). anchors: per level (N, H * W, 4) xyxy in pixels. Deltas are (N, 4, H, W).
        """
        strides = self.prior_generator.strides
        hidden = [F.relu(self.rpn_conv(x, a, s[0])) for x, a, s in zip(features, anchors, strides)]
        logits = [self.rpn_cls(x) for x in hidden] if self.rpn_cls is not None else None
        return hidden if self.bridged_feature else list(features), logits, [self.rpn_reg(x) for x in hidden]

    def refine(
        self, anchors: Sequence[Tensor], deltas: Sequence[Tensor], geometries: Sequence[ImageGeometry]
    ) -> list[Tensor]:
        """The next stage's anchors, per level (N, H * W, 4) xyxy, inside the images."""
        return [
            torch.stack([self.decode(a[i], flatten_map(d[i].detach(), 4), f.size) for i, f in enumerate(geometries)])
            for a, d in zip(anchors, deltas)
        ]

    def propose(
        self,
        anchors: Sequence[Tensor],
        logits: Sequence[Tensor],
        deltas: Sequence[Tensor],
        image: int,
        geometry: ImageGeometry,
    ) -> Detections:
        """One image's proposals, label 0."""
        levels = [
            Level(
                class_scores(flatten_map(logit[image], self.cls_out_channels), self.use_sigmoid),
                flatten_map(delta[image], 4),
                anchor[image],
            )
            for anchor, logit, delta in zip(anchors, logits, deltas)
        ]
        return propose(levels, self.bbox_coder, geometry, self.test_cfg)


class AdaptiveConv(nn.Module):
    """A 3x3 convolution: "dilation", or "offset", whose samples lie on a grid over each cell's anchor."""

    def __init__(self, in_channels: int, out_channels: int, type: str = "dilation", dilation: int = 3) -> None:
        super().__init__()
        self.follows_anchors = type == "offset"
        if self.follows_anchors:
            self.conv: nn.Conv2d = DeformConv(in_channels, out_channels, 3, padding=1)
        else:
            self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=dilation, dilation=dilation)

    def forward(self, x: Tensor, anchors: Tensor, stride: int) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H, W).

        anchors: (N, H * W, 4) xyxy in pixels, `stride` of which make a cell.
        """
        if not self.follows_anchors:
            return self.conv(x)
        return self.conv(x, anchor_offsets(anchors / stride, (x.shape[-2], x.shape[-1])).to(x))


def anchor_offsets(anchors: Tensor, size: tuple[int, int]) -> Tensor:
    """Offsets (N, 18, H, W), (dy, dx) per element of a 3x3 kernel, that spread the kernel over each cell's anchor.

    anchors: (N, H * W, 4) xyxy in cells. size: (H, W).
    """
    cells = cell_corners(size, (1, 1), anchors.device)
    center = (anchors[..., :2] + anchors[..., 2:]) * 0.5 - cells
    growth = (anchors[..., 2:] - anchors[..., :2]) / 2 - 1
    kernel = cell_corners((3, 3), (1, 1), anchors.device) - 1
    offsets = center[:, :, None] + growth[:, :, None] * kernel
    return offsets.flip(-1).flatten(2).transpose(1, 2).reshape(len(anchors), 18, *size)
