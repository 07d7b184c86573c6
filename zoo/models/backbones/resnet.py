"""ResNet and ResNeXt in the variants that detectors start from (He et al., 2015; Xie et al., 2016)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from zoo.models.layers.conv import make_conv
from zoo.models.layers.norm import make_norm
from zoo.models.layers.plugin import make_plugin

BN = {"type": "BN"}


class BasicBlock(nn.Module):
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
        self.norm1_name, norm1 = make_norm(norm_cfg, planes, 1)
        self.add_module(self.norm1_name, norm1)
        self.conv2 = make_conv(conv_cfg, planes, planes, 3, padding=1, bias=False)
        self.norm2_name, norm2 = make_norm(norm_cfg, planes, 2)
        self.add_module(self.norm2_name, norm2)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """(N, inplanes, H, W) to (N, planes, H / stride, W / stride)."""
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(getattr(self, self.norm1_name)(self.conv1(x)))
        out = getattr(self, self.norm2_name)(self.conv2(out))
        return self.relu(out + identity)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a shortcut.

    style: "pytorch" strides in the 3x3 convolution, "caffe" in the first 1x1. groups, base_width: ResNeXt's cardinality
    and width per group. dcn: description of a deformable 3x3 convolution; plugins: `{cfg, position}` of attention
    blocks after one of the convolutions.
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
        self.conv1 = make_conv(conv_cfg, inplanes, width, 1, stride=strides[0], bias=False)
        self.conv2 = self.make_conv2(width, strides[1], dilation, groups, conv_cfg, dcn)
        self.conv3 = make_conv(conv_cfg, width, planes * self.expansion, 1, bias=False)
        self.norm_names = []
        for i, channels in enumerate((width, width, planes * self.expansion), start=1):
            name, norm = make_norm(norm_cfg, channels, i)
            self.add_module(name, norm)
            self.norm_names.append(name)
        self.plugin_names: dict[str, list[str]] = {"after_conv1": [], "after_conv2": [], "after_conv3": []}
        for plugin in plugins:
            channels = planes * self.expansion if plugin["position"] == "after_conv3" else width
            name, layer = make_plugin(plugin["cfg"], channels)
            self.add_module(name, layer)
            self.plugin_names[plugin["position"]].append(name)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def make_conv2(
        self,
        width: int,
        stride: int,
        dilation: int,
        groups: int,
        conv_cfg: Mapping[str, Any] | None,
        dcn: Mapping[str, Any] | None,
    ) -> nn.Module:
        """The 3x3 convolution, deformable if `dcn` says so (and this block's stride allows it)."""
        dcn = dict(dcn or {})
        if dcn.pop("fallback_on_stride", False):
            dcn = {}
        return make_conv(
            dcn or conv_cfg,
            width,
            width,
            3,
            stride=stride,
            padding=dilation,
            dilation=dilation,
            groups=groups,
            bias=False,
        )

    def run_plugins(self, x: Tensor, position: str) -> Tensor:
        """The attention blocks at one position, one after the other."""
        for name in self.plugin_names[position]:
            x = getattr(self, name)(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """(N, inplanes, H, W) to (N, planes * 4, H / stride, W / stride)."""
        norm1, norm2, norm3 = (getattr(self, name) for name in self.norm_names)
        identity = x if self.downsample is None else self.downsample(x)
        out = self.run_plugins(self.relu(norm1(self.conv1(x))), "after_conv1")
        out = self.run_plugins(self.relu(norm2(self.conv2(out))), "after_conv2")
        out = self.run_plugins(norm3(self.conv3(out)), "after_conv3")
        return self.relu(out + identity)


BLOCKS: dict[int, tuple[type[nn.Module], tuple[int, ...]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


def make_stage(
    block: Any,
    num_blocks: int,
    inplanes: int,
    planes: int,
    stride: int = 1,
    avg_down: bool = False,
    conv_cfg: Mapping[str, Any] | None = None,
    norm_cfg: Mapping[str, Any] = BN,
    **kwargs: Any,
) -> nn.Sequential:
    """A stage of `num_blocks` blocks, the first of which strides and has a projection as shortcut.

    avg_down: average pooling in front of an unstrided projection (ResNet-D; He et al., Bag of Tricks, 2018).
    Further arguments are the block's.
    """
    outplanes = planes * block.expansion
    make_block = partial(block, planes=planes, conv_cfg=conv_cfg, norm_cfg=norm_cfg, **kwargs)
    downsample = None
    if stride != 1 or inplanes != outplanes:
        downsample = make_shortcut(inplanes, outplanes, stride, avg_down, conv_cfg, norm_cfg)
    blocks = [make_block(inplanes, stride=stride, downsample=downsample)]
    blocks += [make_block(outplanes) for _ in range(1, num_blocks)]
    return nn.Sequential(*blocks)


def make_shortcut(
    inplanes: int,
    outplanes: int,
    stride: int,
    avg_down: bool,
    conv_cfg: Mapping[str, Any] | None,
    norm_cfg: Mapping[str, Any],
) -> nn.Sequential:
    """A 1x1 projection with normalisation."""
    layers: list[nn.Module] = []
    if avg_down:
        layers.append(nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False))
        stride = 1
    layers.append(make_conv(conv_cfg, inplanes, outplanes, 1, stride=stride, bias=False))
    layers.append(make_norm(norm_cfg, outplanes)[1])
    return nn.Sequential(*layers)


class ResNet(nn.Module):
    """A stem and up to four stages; returns the outputs of the stages in `out_indices`, finest first.

    groups, base_width: of ResNeXt. deep_stem: three 3x3 convolutions instead of a 7x7. stage_with_dcn: in which stages
    `dcn` replaces the 3x3 convolutions. plugins: `{cfg, stages, position}`. frozen_stages: so many stages (and the
    stem, from 0 on) are not trained; norm_eval: batch norm keeps its statistics in training.
    """

    def __init__(
        self,
        depth: int,
        in_channels: int = 3,
        stem_channels: int | None = None,
        base_channels: int = 64,
        num_stages: int = 4,
        strides: Sequence[int] = (1, 2, 2, 2),
        dilations: Sequence[int] = (1, 1, 1, 1),
        out_indices: Sequence[int] = (0, 1, 2, 3),
        style: str = "pytorch",
        deep_stem: bool = False,
        avg_down: bool = False,
        frozen_stages: int = -1,
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] = BN,
        norm_eval: bool = True,
        dcn: Mapping[str, Any] | None = None,
        stage_with_dcn: Sequence[bool] = (False, False, False, False),
        plugins: Sequence[Mapping[str, Any]] | None = None,
        zero_init_residual: bool = True,
        groups: int = 1,
        base_width: int = 4,
    ) -> None:
        super().__init__()
        block, counts = self.blocks(depth)
        self.out_indices, self.frozen_stages, self.norm_eval = tuple(out_indices), frozen_stages, norm_eval
        self.deep_stem = deep_stem
        inplanes = stem_channels or base_channels
        self.make_stem(in_channels, inplanes, conv_cfg, norm_cfg)
        self.stage_names = [f"layer{i + 1}" for i in range(num_stages)]
        for i, name in enumerate(self.stage_names):
            planes = base_channels * 2**i
            options: dict[str, Any] = {"dilation": dilations[i]}
            if issubclass(block, Bottleneck):
                options.update(
                    style=style,
                    groups=groups,
                    base_width=base_width,
                    base_channels=base_channels,
                    dcn=dcn if stage_with_dcn[i] else None,
                    plugins=stage_plugins(plugins, i),
                )
            stage = make_stage(block, counts[i], inplanes, planes, strides[i], avg_down, conv_cfg, norm_cfg, **options)
            self.add_module(name, stage)
            inplanes = planes * block.expansion
        self.init_weights(zero_init_residual)

    @staticmethod
    def blocks(depth: int) -> tuple[Any, tuple[int, ...]]:
        """Block class and blocks per stage."""
        return BLOCKS[depth]

    def make_stem(
        self, in_channels: int, channels: int, conv_cfg: Mapping[str, Any] | None, norm_cfg: Mapping[str, Any]
    ) -> None:
        """Convolution(s) and pooling to a quarter of the resolution."""
        if self.deep_stem:
            layers: list[nn.Module] = []
            for i, (before, after) in enumerate(
                ((in_channels, channels // 2), (channels // 2, channels // 2), (channels // 2, channels))
            ):
                conv = make_conv(conv_cfg, before, after, 3, stride=2 if i == 0 else 1, padding=1, bias=False)
                layers += [conv, make_norm(norm_cfg, after)[1], nn.ReLU(inplace=True)]
            self.stem = nn.Sequential(*layers)
        else:
            self.conv1 = make_conv(conv_cfg, in_channels, channels, 7, stride=2, padding=3, bias=False)
            self.norm1_name, norm = make_norm(norm_cfg, channels, 1)
            self.add_module(self.norm1_name, norm)
            self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)

    def run_stem(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, C, H / 4, W / 4)."""
        if self.deep_stem:
            return self.maxpool(self.stem(x))
        return self.maxpool(self.relu(getattr(self, self.norm1_name)(self.conv1(x))))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) to feature maps (N, C_i, H / s_i, W / s_i), finest first."""
        x = self.run_stem(x)
        outputs = []
        for i, name in enumerate(self.stage_names):
            x = getattr(self, name)(x)
            if i in self.out_indices:
                outputs.append(x)
        return tuple(outputs)

    def init_weights(self, zero_init_residual: bool) -> None:
        """Kaiming initialisation; the last normalisation of each block starts at zero."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if zero_init_residual and isinstance(module, (BasicBlock, Bottleneck)):
                last = module.norm2_name if isinstance(module, BasicBlock) else module.norm_names[-1]
                nn.init.zeros_(getattr(module, last).weight)

    def train(self, mode: bool = True) -> ResNet:
        """Training mode, but frozen stages stay frozen and batch norm keeps its statistics where asked."""
        super().train(mode)
        for module in self.frozen_modules():
            module.eval().requires_grad_(False)
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def frozen_modules(self) -> list[nn.Module]:
        """The stem, if `frozen_stages` is not negative, and that many stages."""
        if self.frozen_stages < 0:
            return []
        stem = [self.stem] if self.deep_stem else [self.conv1, getattr(self, self.norm1_name)]
        return stem + [getattr(self, name) for name in self.stage_names[: self.frozen_stages]]


class ResNetV1d(ResNet):
    """ResNet with a deep stem and average pooling in the shortcuts (He et al., Bag of Tricks, 2018)."""

    def __init__(self, depth: int, **kwargs: Any) -> None:
        super().__init__(depth, deep_stem=True, avg_down=True, **kwargs)


def stage_plugins(plugins: Sequence[Mapping[str, Any]] | None, stage: int) -> list[Mapping[str, Any]]:
    """The plugins that apply to a stage."""
    return [p for p in plugins or () if p.get("stages") is None or p["stages"][stage]]
