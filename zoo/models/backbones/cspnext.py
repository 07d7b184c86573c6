"""CSPNeXt, the backbone of RTMDet (Lyu et al., 2022, section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from zoo.models.backbones.csp_darknet import CSPStages, SPPBottleneck
from zoo.models.layers.conv_module import ConvModule, DepthwiseSeparableConv
from zoo.models.layers.csp import YOLOX_BN, CSPLayer, CSPNeXtBlock

SILU = {"type": "SiLU"}
# Per stage: input channels, output channels, blocks, shortcuts, spatial pyramid pooling.
ARCHITECTURES = {
    "P5": (
        (64, 128, 3, True, False),
        (128, 256, 6, True, False),
        (256, 512, 6, True, False),
        (512, 1024, 3, False, True),
    ),
    "P6": (
        (64, 128, 3, True, False),
        (128, 256, 6, True, False),
        (256, 512, 6, True, False),
        (512, 768, 3, True, False),
        (768, 1024, 3, False, True),
    ),
}


class CSPNeXt(CSPStages):
    """A stem of three convolutions and four or five stages of layers with 5x5 depthwise kernels.

    Returns the outputs in `out_indices` (0 is the stem), finest first. deepen_factor, widen_factor: of blocks and
    channels. expand_ratio: see `CSPLayer`. frozen_stages: so many stages, and the stem from 0 on, are not trained.
    """

    def __init__(
        self,
        arch: str = "P5",
        deepen_factor: float = 1.0,
        widen_factor: float = 1.0,
        out_indices: Sequence[int] = (2, 3, 4),
        frozen_stages: int = -1,
        use_depthwise: bool = False,
        expand_ratio: float = 0.5,
        arch_ovewrite: Sequence[Sequence[Any]] | None = None,  # spelled as configurations spell it
        spp_kernal_sizes: Sequence[int] = (5, 9, 13),
        channel_attention: bool = True,
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] = YOLOX_BN,
        act_cfg: Mapping[str, Any] = SILU,
        norm_eval: bool = False,
    ) -> None:
        super().__init__(out_indices, frozen_stages, norm_eval)
        common: dict[str, Any] = {"conv_cfg": conv_cfg, "norm_cfg": norm_cfg, "act_cfg": act_cfg}
        special: dict[str, Any] = {
            "expand_ratio": expand_ratio,
            "block": CSPNeXtBlock,
            "channel_attention": channel_attention,
        }
        conv = DepthwiseSeparableConv if use_depthwise else ConvModule
        settings = arch_ovewrite or ARCHITECTURES[arch]
        self.stem = stem(settings[0][0] * widen_factor, norm_cfg, act_cfg)
        for i, (before, after, blocks, shortcut, spp) in enumerate(settings, start=1):
            before, after = int(before * widen_factor), int(after * widen_factor)
            depth = max(round(blocks * deepen_factor), 1)
            stage: list[nn.Module] = [conv(before, after, 3, stride=2, padding=1, **common)]
            if spp:
                stage.append(SPPBottleneck(after, spp_kernal_sizes, **common))
            stage.append(CSPLayer(after, after, depth, shortcut, use_depthwise, **common, **special))
            self.add_module(f"stage{i}", nn.Sequential(*stage))
            self.layer_names.append(f"stage{i}")


def stem(channels: float, norm_cfg: Mapping[str, Any], act_cfg: Mapping[str, Any]) -> nn.Sequential:
    """Three 3x3 convolutions, the first with stride 2; `channels` (a rounded number of them) at the end."""
    half, whole = int(channels // 2), int(channels)
    common: dict[str, Any] = {"padding": 1, "norm_cfg": norm_cfg, "act_cfg": act_cfg}
    return nn.Sequential(
        ConvModule(3, half, 3, stride=2, **common),
        ConvModule(half, half, 3, **common),
        ConvModule(half, whole, 3, **common),
    )
