"""RegNetX and RegNetY (Radosavovic et al., Designing Network Design Spaces, 2020)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import groupby
from typing import Any

from torch import Tensor, nn

from zoo.errors import BuildError
from zoo.models.backbones.residual import Bottleneck
from zoo.models.backbones.resnet import ResNet, StagePlan
from zoo.models.layers.conv import make_conv
from zoo.models.layers.norm import make_norm
from zoo.models.layers.squeeze_excitation import SELayer

# Blocks have widths w0 + wa * i, rounded to powers of wm times w0; group_w channels per group. RegNetY's squeeze and
# excitation has se_ratio times the channels of the block's input.
ARCHITECTURES: dict[str, dict[str, float]] = {
    "regnetx_400mf": {"w0": 24, "wa": 24.48, "wm": 2.54, "group_w": 16, "depth": 22, "bot_mul": 1.0},
    "regnetx_800mf": {"w0": 56, "wa": 35.73, "wm": 2.28, "group_w": 16, "depth": 16, "bot_mul": 1.0},
    "regnetx_1.6gf": {"w0": 80, "wa": 34.01, "wm": 2.25, "group_w": 24, "depth": 18, "bot_mul": 1.0},
    "regnetx_3.2gf": {"w0": 88, "wa": 26.31, "wm": 2.25, "group_w": 48, "depth": 25, "bot_mul": 1.0},
    "regnetx_4.0gf": {"w0": 96, "wa": 38.65, "wm": 2.43, "group_w": 40, "depth": 23, "bot_mul": 1.0},
    "regnetx_6.4gf": {"w0": 184, "wa": 60.83, "wm": 2.07, "group_w": 56, "depth": 17, "bot_mul": 1.0},
    "regnetx_8.0gf": {"w0": 80, "wa": 49.56, "wm": 2.88, "group_w": 120, "depth": 23, "bot_mul": 1.0},
    "regnetx_12gf": {"w0": 168, "wa": 73.36, "wm": 2.37, "group_w": 112, "depth": 19, "bot_mul": 1.0},
    "regnety_4.0gf": {"w0": 96, "wa": 31.41, "wm": 2.24, "group_w": 64, "depth": 22, "bot_mul": 1.0, "se_ratio": 0.25},
}
DIVISOR = 8


class RegNetBottleneck(Bottleneck):
    """A bottleneck whose 1x1 convolutions do not change the width.

    se_ratio: squeeze and excitation behind the 3x3 convolution, with this share of the input's channels (RegNetY).
    """

    expansion = 1

    def __init__(self, inplanes: int, planes: int, se_ratio: float = 0.0, **kwargs: Any) -> None:
        super().__init__(inplanes, planes, **kwargs)
        self.se = SELayer(self.conv2.out_channels, round(inplanes * se_ratio)) if se_ratio else None

    def middle(self, x: Tensor) -> Tensor:
        """The 3x3 convolution, normalized, rectified and rescaled by channel."""
        x = super().middle(x)
        return x if self.se is None else self.se(x)


class RegNet(ResNet):
    """Four stages of grouped bottlenecks behind one 3x3 convolution, without pooling.

    arch: a name in `ARCHITECTURES`, or such a mapping. The other arguments are those of `ResNet`.
    """

    def __init__(
        self, arch: str | Mapping[str, float], stem_channels: int = 32, strides: Any = (2, 2, 2, 2), **kwargs: Any
    ) -> None:
        if isinstance(arch, str):
            if arch not in ARCHITECTURES:
                raise BuildError(f"there is no RegNet '{arch}'; known: {', '.join(ARCHITECTURES)}")
            arch = ARCHITECTURES[arch]
        super().__init__(0, stem_channels=stem_channels, strides=strides, stages=stages(arch), **kwargs)

    def make_stem(
        self, in_channels: int, channels: int, conv_cfg: Mapping[str, Any] | None, norm_cfg: Mapping[str, Any]
    ) -> None:
        """One convolution to half of the resolution."""
        self.conv1 = make_conv(conv_cfg, in_channels, channels, 3, stride=2, padding=1, bias=False)
        self.norm1_name, norm = make_norm(norm_cfg, channels, 1)
        self.add_module(self.norm1_name, norm)
        self.relu = nn.ReLU(inplace=True)

    def run_stem(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, C, H / 2, W / 2)."""
        return self.relu(getattr(self, self.norm1_name)(self.conv1(x)))


def stages(arch: Mapping[str, float]) -> list[StagePlan]:
    """Runs of blocks of equal width, the widths rounded so that the groups fit."""
    planned = []
    for width, run in groupby(block_widths(arch)):
        inner = int(width * arch["bot_mul"])
        group = min(int(arch["group_w"]), inner)
        inner = round(inner / group) * group
        planes = int(inner / arch["bot_mul"])
        options: dict[str, float] = {"groups": inner // group, "base_width": group, "base_channels": planes}
        options["se_ratio"] = arch.get("se_ratio", 0.0)
        planned.append(StagePlan(RegNetBottleneck, len(list(run)), planes, options))
    return planned


def block_widths(arch: Mapping[str, float]) -> list[int]:
    """Width of each block (section 3.3 of the paper)."""
    w0, step = arch["w0"], math.log(arch["wm"])
    exponents = [round(math.log((w0 + arch["wa"] * i) / w0) / step) for i in range(int(arch["depth"]))]
    return [round(w0 * arch["wm"] ** k / DIVISOR) * DIVISOR for k in exponents]
