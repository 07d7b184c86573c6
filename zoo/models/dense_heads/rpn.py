"""Region proposal network (Ren et al., Faster R-CNN, 2015, section 3.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.dense_heads.anchor_head import AnchorHead
from zoo.models.dense_heads.selection import Level
from zoo.models.layers.conv_module import ConvModule
from zoo.models.layers.fast_conv import FastConv2d
from zoo.models.layers.in_passing import predicted_in_passing
from zoo.models.layers.nms import suppress
from zoo.models.layers.ranking import best
from zoo.models.layers.steps import activated
from zoo.models.layers.tracing import recording
from zoo.structures import Detections, ImageGeometry


class RPNHead(AnchorHead):
    """Objectness and boxes of every anchor; its detections are the proposals, label 0.

    num_convs: 3x3 convolutions in front of the predictions.
    """

    def __init__(self, in_channels: int, num_convs: int = 1, **kwargs: Any) -> None:
        super().__init__(1, in_channels, **kwargs)
        channels = self.feat_channels
        if num_convs > 1:
            self.rpn_conv: nn.Module = nn.Sequential(
                *(
                    ConvModule(in_channels if i == 0 else channels, channels, 3, padding=1, inplace=False)
                    for i in range(num_convs)
                )
            )
        else:
            self.rpn_conv = FastConv2d(in_channels, channels, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.rpn_cls = nn.Conv2d(channels, self.num_base_priors * self.cls_out_channels, 1)
        self.rpn_reg = nn.Conv2d(channels, self.num_base_priors * 4, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.01)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Per level (N, C, H, W): objectness logits (N, A, H, W) and deltas (N, A * 4, H, W)."""
        logits, deltas = zip(*map(self.level, features))
        return list(logits), list(deltas)

    def level(self, x: Tensor) -> Sequence[Tensor]:
        """(N, C, H, W) of one level to its logits and deltas."""
        outputs = predicted_in_passing(self.rpn_conv, self.relu, (self.rpn_cls, self.rpn_reg), x)
        return self.predictions(self.hidden(x)) if outputs is None else outputs

    def predictions(self, hidden: Tensor) -> Sequence[Tensor]:
        """Logits and deltas of an activated map."""
        return self.rpn_cls(hidden), self.rpn_reg(hidden)

    def hidden(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the activated map that both predictions read."""
        # Several convolutions end in an activation, whose backward needs the map that it returned.
        return (
            self.rpn_conv(x)
            if isinstance(self.rpn_conv, nn.Sequential)
            else activated(self.rpn_conv, None, self.relu, x)
        )

    def predict(
        self,
        outputs: Sequence[Sequence[Tensor]],
        geometries: Sequence[ImageGeometry],
        cfg: Mapping[str, Any] | None = None,
    ) -> list[Detections]:
        """Proposals in input coordinates: the best `nms_pre` of each level, suppressed within levels.

        outputs: what `forward` returned. geometries: one per image. cfg: instead of the head's `test_cfg`.
        """
        cfg = cfg or self.test_cfg
        return [
            propose(self.levels(outputs, i), self.bbox_coder, geometry, cfg) for i, geometry in enumerate(geometries)
        ]


def propose(levels: Sequence[Level], coder: Any, geometry: ImageGeometry, cfg: Any) -> Detections:
    """Class-agnostic proposals of one image: scores are (P, 1), levels compete only within themselves."""
    scores, deltas, priors, groups = [], [], [], []
    for i, level in enumerate(levels):
        level = best_of_level(level, cfg.get("nms_pre", -1))
        scores.append(level.scores[:, 0])
        deltas.append(level.regression)
        priors.append(level.priors)
        groups.append(torch.full_like(level.scores[:, 0], i, dtype=torch.long))
    boxes = coder.decode(torch.cat(priors), torch.cat(deltas), size=geometry.size)
    return best_proposals(boxes, torch.cat(scores), torch.cat(groups), cfg)


def best_of_level(level: Level, nms_pre: int) -> Level:
    """The `nms_pre` best priors of a level, ranked; the level as it is if it has no more than that."""
    if not (recording() and nms_pre > 0) and not 0 < nms_pre < len(level.scores):
        return level
    order = best(level.scores[:, 0], nms_pre)
    return Level(level.scores[order], level.regression[order], level.priors[order])


def best_proposals(boxes: Tensor, scores: Tensor, groups: Tensor, cfg: Any) -> Detections:
    """Boxes larger than `min_bbox_size`, suppressed within groups, at most `max_per_img`, all with label 0.

    With a `score_thr` only boxes with at least this score.
    """
    large = larger_than(boxes, cfg.get("min_bbox_size", -1))
    if (threshold := cfg.get("score_thr", 0.0)) > 0:
        large = large[scores[large] >= threshold]
    boxes, scores, groups = boxes[large], scores[large], groups[large]
    detections = suppress(boxes, scores, groups, cfg["nms"], cfg["max_per_img"])
    detections.labels = torch.zeros_like(detections.labels)
    return detections


def larger_than(boxes: Tensor, minimum: float) -> Tensor:
    """Indices of the boxes (K, 4) that are wider and higher than `minimum` pixels; of all of them if it is negative."""
    if minimum < 0:
        return torch.ones_like(boxes[:, 0]).cumsum(0).long() - 1
    return ((boxes[:, 2:] - boxes[:, :2]) > minimum).all(dim=1).nonzero().squeeze(1)
