"""ResNet and ResNeXt in the variants that detectors start from (He et al., 2015; Xie et al., 2016)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from zoo.errors import BuildError
from zoo.models.backbones.residual import BN, BasicBlock, Bottleneck, make_stage
from zoo.models.layers.bands import pooled_by_bands, wants_bands
from zoo.models.layers.conv import make_conv
from zoo.models.layers.freezing import freeze, keep_statistics
from zoo.models.layers.norm import make_norm
from zoo.models.layers.steps import activated

BLOCKS: dict[int, tuple[type[BasicBlock | Bottleneck], tuple[int, ...]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


@dataclass(frozen=True)
class StagePlan:
    """A stage of `count` blocks with `planes` channels. options: further arguments of all its blocks, `first`: of the
    first only."""

    block: Any
    count: int
    planes: int
    options: Mapping[str, Any] = field(default_factory=dict)
    first: Mapping[str, Any] = field(default_factory=dict)


def plan(
    settings: Mapping[int, tuple[type[nn.Module], tuple[int, ...]]],
    depth: int,
    num_stages: int,
    base_channels: int,
    first: Mapping[str, Any] | None = None,
    **options: Any,
) -> list[StagePlan]:
    """The stages that `settings` has for a depth; channels double from stage to stage.

    first: arguments of each stage's first block. options: further arguments of bottlenecks. Raises BuildError for an
    unknown depth.
    """
    if depth not in settings:
        raise BuildError(f"there is no residual network of depth {depth}; known: {', '.join(map(str, settings))}")
    block, counts = settings[depth]
    options = {"base_channels": base_channels, **options} if issubclass(block, Bottleneck) else {}
    return [
        StagePlan(block, count, base_channels * 2**i, options, first or {})
        for i, count in enumerate(counts[:num_stages])
    ]


class ResNet(nn.Module):
    """A stem and up to four stages; returns the outputs of the stages in `out_indices`, finest first.

    groups, base_width: of ResNeXt. deep_stem: three 3x3 convolutions instead of a 7x7. stage_with_dcn: in which stages
    `dcn` replaces the 3x3 convolutions. plugins: `{cfg, stages, position}`. frozen_stages: so many stages (and the
    stem, from 0 on) are not trained; norm_eval: batch norm keeps its statistics in training. stages: the layout of
    related networks, in place of `depth`, `base_channels`, `groups` and `base_width`. dilate_first_block: whether the
    first block of a stage has the stage's dilation, or that of the stage before it (torchvision, DETR-DC5).
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
        stages: Sequence[StagePlan] | None = None,
        dilate_first_block: bool = True,
    ) -> None:
        super().__init__()
        self.out_indices, self.frozen_stages, self.norm_eval = tuple(out_indices), frozen_stages, norm_eval
        self.deep_stem = deep_stem
        inplanes = stem_channels or base_channels
        self.make_stem(in_channels, inplanes, conv_cfg, norm_cfg)
        stages = stages or plan(BLOCKS, depth, num_stages, base_channels, groups=groups, base_width=base_width)
        self.stage_names = [f"layer{i + 1}" for i in range(len(stages))]
        for i, (name, stage) in enumerate(zip(self.stage_names, stages)):
            options: dict[str, Any] = {"dilation": dilations[i]}
            if issubclass(stage.block, Bottleneck):
                options.update(style=style, dcn=dcn if stage_with_dcn[i] else None, plugins=stage_plugins(plugins, i))
            options.update(stage.options)
            first = dict(stage.first or {})
            if not dilate_first_block:
                first["dilation"] = dilations[max(i - 1, 0)]
            layer = make_stage(
                stage.block,
                stage.count,
                inplanes,
                stage.planes,
                strides[i],
                avg_down,
                conv_cfg,
                norm_cfg,
                first,
                **options,
            )
            self.add_module(name, layer)
            inplanes = stage.planes * stage.block.expansion
        self.init_weights(zero_init_residual)

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
                layers += [conv, make_norm(norm_cfg, after, inplace=True)[1], nn.ReLU(inplace=True)]
            self.stem = nn.Sequential(*layers)
        else:
            self.conv1 = make_conv(conv_cfg, in_channels, channels, 7, stride=2, padding=3, bias=False)
            self.norm1_name, norm = make_norm(norm_cfg, channels, 1, inplace=True)
            self.add_module(self.norm1_name, norm)
            self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)

    def run_stem(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, C, H / 4, W / 4)."""
        if self.deep_stem:
            return self.maxpool(self.stem(x))
        if wants_bands(self.conv1, getattr(self, self.norm1_name), x):
            return pooled_by_bands(self.run_first, self.maxpool, x)
        return self.maxpool(self.run_first(x))

    def run_first(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to the rectified map (N, C, H / 2, W / 2) that is pooled."""
        return activated(self.conv1, getattr(self, self.norm1_name), self.relu, x)

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
        """Kaiming initialization; the last normalization of each block starts at zero."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if zero_init_residual and isinstance(module, (BasicBlock, Bottleneck)):
                module.zero_last_norm()
        for module in self.modules():  # only now, since convolutions inside were initialized above
            if hasattr(module, "start_neutral"):
                module.start_neutral()  # type: ignore[operator]

    def train(self, mode: bool = True) -> ResNet:
        """Training mode, but frozen stages stay frozen and batch norm keeps its statistics where asked."""
        super().train(mode)
        freeze(self.frozen_modules())
        if self.norm_eval:
            keep_statistics(self)
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
