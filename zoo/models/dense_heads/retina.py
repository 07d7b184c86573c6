"""RetinaNet's head (Lin et al., Focal Loss for Dense Object Detection, 2017, section 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from zoo.models.dense_heads.anchor_head import AnchorHead
from zoo.models.dense_heads.towers import init_dense, run, tower
from zoo.models.layers.fast_conv import FastConv2d


class RetinaHead(AnchorHead):
    """Dense classification and box regression over a feature pyramid.

    Two towers of `stacked_convs` 3x3 convolutions are shared by all levels.
    """

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
        options: dict[str, Any] = {"conv_cfg": conv_cfg, "norm_cfg": norm_cfg}
        self.cls_convs = tower(in_channels, self.feat_channels, stacked_convs, **options)
        self.reg_convs = tower(in_channels, self.feat_channels, stacked_convs, **options)
        self.retina_cls = FastConv2d(self.feat_channels, self.num_base_priors * self.cls_out_channels, 3, padding=1)
        self.retina_reg = nn.Conv2d(self.feat_channels, self.num_base_priors * 4, 3, padding=1)
        init_dense(self, self.retina_cls)

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Score and box maps.

        features: per level (N, C, H, W), finest first.
        Returns per level: class logits (N, A * C, H, W) and deltas (N, A * 4, H, W) in the box coder's encoding.
        """
        logits = [self.retina_cls(run(self.cls_convs, x)) for x in features]
        deltas = [self.retina_reg(run(self.reg_convs, x)) for x in features]
        return logits, deltas


class FreeAnchorRetinaHead(RetinaHead):
    """RetinaNet whose training chooses an object's anchor by likelihood (Zhang et al., FreeAnchor, 2019).

    pre_anchor_topk: anchors in an object's bag. bbox_thr: IoU from which on a box counts as the object. gamma, alpha:
    of the focal loss.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        pre_anchor_topk: int = 50,
        bbox_thr: float = 0.6,
        gamma: float = 2.0,
        alpha: float = 0.5,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        self.pre_anchor_topk, self.bbox_thr, self.gamma, self.alpha = pre_anchor_topk, bbox_thr, gamma, alpha


class PISARetinaHead(RetinaHead):
    """RetinaNet whose training weighs samples by their importance (Cao et al., Prime Sample Attention, 2020)."""
