"""YOLOv3's neck (Redmon and Farhadi, 2018)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.layers.conv_module import ConvModule

BN = {"type": "BN", "requires_grad": True}
LEAKY = {"type": "LeakyReLU", "negative_slope": 0.1}


class DetectionBlock(nn.Module):
    """1x1 and 3x3 convolutions in turn, five of them."""

    def __init__(self, in_channels: int, out_channels: int, **kwargs: Any) -> None:
        super().__init__()
        wide = out_channels * 2
        self.conv1 = ConvModule(in_channels, out_channels, 1, **kwargs)
        self.conv2 = ConvModule(out_channels, wide, 3, padding=1, **kwargs)
        self.conv3 = ConvModule(wide, out_channels, 1, **kwargs)
        self.conv4 = ConvModule(out_channels, wide, 3, padding=1, **kwargs)
        self.conv5 = ConvModule(wide, out_channels, 1, **kwargs)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H, W)."""
        return self.conv5(self.conv4(self.conv3(self.conv2(self.conv1(x)))))


class YOLOV3Neck(nn.Module):
    """A top-down pathway by concatenation. in_channels, out_channels: of each scale, coarsest first."""

    def __init__(
        self,
        num_scales: int,
        in_channels: Sequence[int],
        out_channels: Sequence[int],
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] = BN,
        act_cfg: Mapping[str, Any] = LEAKY,
    ) -> None:
        super().__init__()
        options: dict[str, Any] = {"conv_cfg": conv_cfg, "norm_cfg": norm_cfg, "act_cfg": act_cfg}
        self.num_scales = num_scales
        self.detect1 = DetectionBlock(in_channels[0], out_channels[0], **options)
        for i in range(1, num_scales):
            self.add_module(f"conv{i}", ConvModule(out_channels[i - 1], out_channels[i], 1, **options))
            block = DetectionBlock(in_channels[i] + out_channels[i], out_channels[i], **options)
            self.add_module(f"detect{i + 1}", block)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Backbone maps, finest first, to maps (N, out_channels_i, H_i, W_i), coarsest first."""
        outputs = [self.detect1(inputs[-1])]
        for i, x in enumerate(reversed(inputs[:-1]), start=1):
            above = F.interpolate(getattr(self, f"conv{i}")(outputs[-1]), scale_factor=2)
            outputs.append(getattr(self, f"detect{i + 1}")(torch.cat([above, x], dim=1)))
        return tuple(outputs)
