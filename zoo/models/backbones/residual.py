"""Residual blocks and the stages that they form (He et al., 2015; Xie et al., 2016)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from zoo.models.layers.conv import make_conv
from zoo.models.layers.memory_format import added
from zoo.models.layers.norm import make_norm
from zoo.models.layers.plugin import make_plugin
from zoo.models.layers.steps import activated, activated_sum

BN = {"type": "BN"}


class ResidualBlock(nn.Module):
    """A block whose result is the sum of a branch and a shortcut, activated."""

    downsample: nn.Module | None
    """The projection on the shortcut, if the block changes its input's shape."""
    owns_input = False
    """Whether the input is needed nowhere else, so that the result may take its memory where nothing is remembered."""

    def shortcut(self, x: Tensor) -> tuple[Tensor, bool]:
        """The input (N, inplanes, H, W) in the shape of the result, and whether the result may take its memory."""
        identity = x if self.downsample is None else self.downsample(x)
        return identity, self.owns_input or identity is not x


class BasicBlock(ResidualBlock):
    """Two 3x3 convolutions and a shortcut."""

    expansion = 1

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        dilation: int = 1,
        downsample: nn.Module | None = None,
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] = BN,
    ) -> None:
        super().__init__()
        self.conv1 = make_conv(
            conv_cfg, inplanes, planes, 3, stride=stride, padding=dilation, dilation=dilation, bias=False
        )
        self.norm1_name, norm1 = make_norm(norm_cfg, planes, 1, inplace=True)
        self.add_module(self.norm1_name, norm1)
        self.conv2 = make_conv(conv_cfg, planes, planes, 3, padding=1, bias=False)
        self.norm2_name, norm2 = make_norm(norm_cfg, planes, 2, inplace=True)
        self.add_module(self.norm2_name, norm2)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def zero_last_norm(self) -> None:
        """Start as the identity."""
        nn.init.zeros_(getattr(self, self.norm2_name).weight)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inplanes, H, W) to (N, planes, H / stride, W / stride)."""
        identity, free = self.shortcut(x)
        norm1, norm2 = getattr(self, self.norm1_name), getattr(self, self.norm2_name)
        out = activated(self.conv1, norm1, self.relu, x)
        return activated_sum(self.conv2, norm2, self.relu, out, identity, free)


class Bottleneck(ResidualBlock):
    """1x1, 3x3 and 1x1 convolutions and a shortcut.

    style: "pytorch" strides in the 3x3 convolution, "caffe" in the first 1x1. groups, base_width: ResNeXt's cardinality
    and width per group. dcn: description of another 3x3 convolution, such as a deformable one; plugins: `{cfg,
    position}` of attention blocks after one of the convolutions.
    """

    expansion = 4

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        dilation: int = 1,
        downsample: nn.Module | None = None,
        style: str = "pytorch",
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] = BN,
        dcn: Mapping[str, Any] | None = None,
        plugins: Sequence[Mapping[str, Any]] = (),
        groups: int = 1,
        base_width: int = 4,
        base_channels: int = 64,
    ) -> None:
        super().__init__()
        width = planes if groups == 1 else int(planes * (base_width / base_channels)) * groups
        strides = (1, stride) if style == "pytorch" else (stride, 1)
        self.norm_names: list[str] = []
        self.conv1 = make_conv(conv_cfg, inplanes, width, 1, stride=strides[0], bias=False)
        self.add_norm(norm_cfg, width, 1)
        self.add_middle(width, strides[1], dilation, groups, conv_cfg, norm_cfg, dcn)
        self.conv3 = make_conv(conv_cfg, width, planes * self.expansion, 1, bias=False)
        self.add_norm(norm_cfg, planes * self.expansion, 3)
        self.plugin_names: dict[str, list[str]] = {"after_conv1": [], "after_conv2": [], "after_conv3": []}
        for plugin in plugins:
            channels = planes * self.expansion if plugin["position"] == "after_conv3" else width
            name, layer = make_plugin(plugin["cfg"], channels)
            self.add_module(name, layer)
            self.plugin_names[plugin["position"]].append(name)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def add_norm(self, norm_cfg: Mapping[str, Any], channels: int, number: int) -> None:
        """Normalization behind convolution `number`."""
        name, norm = make_norm(norm_cfg, channels, number, inplace=True)
        self.add_module(name, norm)
        self.norm_names.append(name)

    def add_middle(
        self,
        width: int,
        stride: int,
        dilation: int,
        groups: int,
        conv_cfg: Mapping[str, Any] | None,
        norm_cfg: Mapping[str, Any],
        dcn: Mapping[str, Any] | None,
    ) -> None:
        """The 3x3 convolution over `width` channels and its normalization."""
        self.conv2 = make_conv(
            deformable(dcn) or conv_cfg,
            width,
            width,
            3,
            stride=stride,
            padding=dilation,
            dilation=dilation,
            groups=groups,
            bias=False,
        )
        self.add_norm(norm_cfg, width, 2)

    def middle(self, x: Tensor) -> Tensor:
        """The 3x3 convolution, normalized and rectified: (N, width, H, W) to (N, width, H / stride, W / stride)."""
        return activated(self.conv2, getattr(self, self.norm_names[1]), self.relu, x)

    def zero_last_norm(self) -> None:
        """Start as the identity."""
        nn.init.zeros_(getattr(self, self.norm_names[-1]).weight)

    def run_plugins(self, x: Tensor, position: str) -> Tensor:
        """The attention blocks at one position, one after the other."""
        for name in self.plugin_names[position]:
            x = getattr(self, name)(x)
        return x

    def branch(self, x: Tensor) -> Tensor:
        """What the last convolution reads: (N, width, H / stride, W / stride)."""
        out = activated(self.conv1, getattr(self, self.norm_names[0]), self.relu, x)
        return self.run_plugins(self.middle(self.run_plugins(out, "after_conv1")), "after_conv2")

    def combined(self, x: Tensor) -> Tensor:
        """The sum of both branches, before the last activation."""
        identity, _ = self.shortcut(x)
        out = getattr(self, self.norm_names[-1])(self.conv3(self.branch(x)))
        return added(self.run_plugins(out, "after_conv3"), identity)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inplanes, H, W) to (N, planes * expansion, H / stride, W / stride)."""
        if self.plugin_names["after_conv3"]:
            return self.relu(self.combined(x))
        norm3, (identity, free) = getattr(self, self.norm_names[-1]), self.shortcut(x)
        return activated_sum(self.conv3, norm3, self.relu, self.branch(x), identity, free)


def deformable(dcn: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The deformable convolution that `dcn` asks for, if any."""
    options = dict(dcn or {})
    return None if options.pop("fallback_on_stride", False) else options or None


def make_stage(
    block: Any,
    num_blocks: int,
    inplanes: int,
    planes: int,
    stride: int = 1,
    avg_down: bool = False,
    conv_cfg: Mapping[str, Any] | None = None,
    norm_cfg: Mapping[str, Any] = BN,
    first: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> nn.Sequential:
    """A stage of `num_blocks` blocks, the first of which strides and has a projection as shortcut.

    avg_down: average pooling in front of an unstrided projection (ResNet-D; He et al., Bag of Tricks, 2018).
    first: arguments of the first block only; further arguments are those of all blocks.
    """
    outplanes = planes * block.expansion
    make_block = partial(block, planes=planes, conv_cfg=conv_cfg, norm_cfg=norm_cfg, **kwargs)
    downsample = None
    if stride != 1 or inplanes != outplanes:
        downsample = make_shortcut(inplanes, outplanes, stride, avg_down, conv_cfg, norm_cfg)
    blocks = [make_block(inplanes, stride=stride, downsample=downsample, **(first or {}))]
    blocks += [make_block(outplanes) for _ in range(1, num_blocks)]
    for block in blocks[1:]:
        block.owns_input = True
    return nn.Sequential(*blocks)


def make_shortcut(
    inplanes: int,
    outplanes: int,
    stride: int,
    avg_down: bool,
    conv_cfg: Mapping[str, Any] | None,
    norm_cfg: Mapping[str, Any],
) -> nn.Sequential:
    """A 1x1 projection with normalization."""
    layers: list[nn.Module] = []
    if avg_down:
        layers.append(nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False))
        stride = 1
    layers.append(make_conv(conv_cfg, inplanes, outplanes, 1, stride=stride, bias=False))
    layers.append(make_norm(norm_cfg, outplanes, inplace=True)[1])
    return nn.Sequential(*layers)
