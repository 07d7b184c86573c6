"""The dynamic instance interactive head of Sparse R-CNN (Sun et al., 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from zoo.models.build import component
from zoo.models.dense_heads.anchor_head import uses_sigmoid
from zoo.models.dense_heads.towers import prior_bias, run
from zoo.models.layers.norm import make_norm
from zoo.models.roi_heads.bbox_head import RegionHead
from zoo.models.transformer.attention import MultiheadAttention
from zoo.models.transformer.feedforward import FFN, RELU
from zoo.models.transformer.layers import LN, init_transformer

DYNAMIC_CONV = {"type": "DynamicConv", "in_channels": 256, "feat_channels": 64, "out_channels": 256}


class DIIHead(RegionHead):
    """Queries attend to each other, then each looks at its region through a dynamic convolution.

    num_cls_fcs, num_reg_fcs: hidden layers of the two branches. `loss_cls` decides between sigmoid scores and a softmax
    with a background class.
    """

    def __init__(
        self,
        num_ffn_fcs: int = 2,
        num_heads: int = 8,
        num_cls_fcs: int = 1,
        num_reg_fcs: int = 3,
        feedforward_channels: int = 2048,
        in_channels: int = 256,
        dropout: float = 0.0,
        ffn_act_cfg: Mapping[str, Any] = RELU,
        dynamic_conv_cfg: Mapping[str, Any] = DYNAMIC_CONV,
        loss_cls: Mapping[str, Any] | None = None,
        loss_iou: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(reg_class_agnostic=True, reg_decoded_bbox=True, loss_cls=loss_cls, **kwargs)
        self.loss_cfg["iou"] = loss_iou
        self.use_sigmoid = uses_sigmoid(loss_cls)
        self.attention = MultiheadAttention(in_channels, num_heads, dropout=dropout)
        self.attention_norm = make_norm(LN, in_channels)[1]
        self.instance_interactive_conv = component(dynamic_conv_cfg)
        self.instance_interactive_conv_dropout = nn.Dropout(dropout)
        self.instance_interactive_conv_norm = make_norm(LN, in_channels)[1]
        self.ffn = FFN(in_channels, feedforward_channels, num_ffn_fcs, ffn_act_cfg, dropout)
        self.ffn_norm = make_norm(LN, in_channels)[1]
        self.cls_fcs, self.reg_fcs = hidden(num_cls_fcs, in_channels), hidden(num_reg_fcs, in_channels)
        self.fc_cls: Any = nn.Linear(in_channels, self.num_classes if self.use_sigmoid else self.num_classes + 1)
        self.fc_reg: Any = nn.Linear(in_channels, 4)
        init_transformer(self)
        if self.use_sigmoid:
            nn.init.constant_(self.fc_cls.bias, prior_bias())

    def forward(self, regions: Tensor, queries: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """One stage of the cascade.

        regions: (N * Q, C, h, w), the features of the queries' boxes. queries: (N, Q, C).
        Returns class logits (N, Q, classes), deltas (N, Q, 4), the next stage's queries (N, Q, C), and the queries that
        the region was looked at with (N, Q, C), which a mask head uses too.
        """
        attended = self.attention_norm(self.attention(queries, queries, queries))
        looked = self.instance_interactive_conv(attended.flatten(0, 1), regions).view_as(attended)
        objects = self.instance_interactive_conv_norm(attended + self.instance_interactive_conv_dropout(looked))
        objects = self.ffn_norm(self.ffn(objects))
        logits, deltas = self.fc_cls(run(self.cls_fcs, objects)), self.fc_reg(run(self.reg_fcs, objects))
        return logits, deltas, objects, attended

    def scores(self, logits: Tensor) -> Tensor:
        """Class logits (..., classes) to scores of the foreground classes (..., num_classes)."""
        return logits.sigmoid() if self.use_sigmoid else logits.softmax(-1)[..., :-1]


def hidden(depth: int, channels: int) -> nn.ModuleList:
    """`depth` times a linear layer, its normalization and ReLU, in one list as checkpoints number them."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(channels, channels, bias=False), make_norm(LN, channels)[1], nn.ReLU(inplace=True)]
    return nn.ModuleList(layers)
