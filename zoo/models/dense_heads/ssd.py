"""SSD's head (Liu et al., Single Shot MultiBox Detector, 2016)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from zoo.models.dense_heads.anchor_head import AnchorHead
from zoo.models.layers.conv_module import ConvModule, DepthwiseSeparableConv
from zoo.models.layers.fast_conv import FastConv2d

SOFTMAX = {"type": "CrossEntropyLoss", "use_sigmoid": False}
IN_CHANNELS = (512, 1024, 512, 256, 256, 256)


class SSDHead(AnchorHead):
    """Each level has predictors of its own, for as many anchors as that level has.

    in_channels: of each level. stacked_convs, feat_channels: convolutions in front of the predictors. use_depthwise:
    all of them are separable (SSDLite).
    """

    def __init__(
        self,
        anchor_generator: Mapping[str, Any],
        num_classes: int = 80,
        in_channels: Sequence[int] = IN_CHANNELS,
        stacked_convs: int = 0,
        feat_channels: int = 256,
        use_depthwise: bool = False,
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] | None = None,
        act_cfg: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            num_classes, in_channels[0], feat_channels, anchor_generator, **{"loss_cls": SOFTMAX, **kwargs}
        )
        self.stacked_convs, self.use_depthwise = stacked_convs, use_depthwise
        self.options: dict[str, Any] = {"conv_cfg": conv_cfg, "norm_cfg": norm_cfg, "act_cfg": act_cfg}
        levels = list(zip(in_channels, self.prior_generator.num_base_priors))
        self.cls_convs = nn.ModuleList(self.predictor(c, a * self.cls_out_channels) for c, a in levels)
        self.reg_convs = nn.ModuleList(self.predictor(c, a * 4) for c, a in levels)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)

    def predictor(self, channels: int, outputs: int) -> nn.Sequential:
        """One level's convolutions for one task."""
        conv = DepthwiseSeparableConv if self.use_depthwise else ConvModule
        layers: list[nn.Module] = []
        for _ in range(self.stacked_convs):
            layers.append(conv(channels, self.feat_channels, 3, padding=1, **self.options))
            channels = self.feat_channels
        if self.use_depthwise:
            layers.append(ConvModule(channels, channels, 3, padding=1, groups=channels, **self.options))
            layers.append(nn.Conv2d(channels, outputs, 1))
        else:
            layers.append(FastConv2d(channels, outputs, 3, padding=1))
        return nn.Sequential(*layers)

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Per level (N, C_i, H, W): class logits (N, A_i * (C + 1), H, W), deltas (N, A_i * 4, H, W)."""
        logits = [conv(x) for conv, x in zip(self.cls_convs, features)]
        return logits, [conv(x) for conv, x in zip(self.reg_convs, features)]


class PISASSDHead(SSDHead):
    """SSD whose training weighs samples by their importance (Cao et al., Prime Sample Attention, 2020)."""
