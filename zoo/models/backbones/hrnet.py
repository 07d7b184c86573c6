"""HRNet: high-resolution representations (Wang et al., 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from zoo.models.backbones.residual import BN, BasicBlock, Bottleneck, make_stage
from zoo.models.layers.conv import make_conv
from zoo.models.layers.freezing import keep_statistics
from zoo.models.layers.norm import make_norm

BLOCKS: dict[str, Any] = {"BASIC": BasicBlock, "BOTTLENECK": Bottleneck}
STEM_CHANNELS = 64


def conv_norm(
    in_channels: int, out_channels: int, kernel_size: int, stride: int, conv_cfg: Any, norm_cfg: Any, relu: bool
) -> nn.Sequential:
    """Convolution, normalization and, if asked, activation."""
    padding = kernel_size // 2
    conv = make_conv(conv_cfg, in_channels, out_channels, kernel_size, stride=stride, padding=padding, bias=False)
    layers = [conv, make_norm(norm_cfg, out_channels)[1]]
    return nn.Sequential(*layers, nn.ReLU()) if relu else nn.Sequential(*layers)


class HRModule(nn.Module):
    """Branches of different resolution, each halving the last one's, and an exchange between all of them.

    in_channels: per branch. num_blocks, num_channels: per branch, of `block`. multiscale_output: False leaves only the
    finest branch.
    """

    def __init__(
        self,
        block: Any,
        in_channels: Sequence[int],
        num_blocks: Sequence[int],
        num_channels: Sequence[int],
        multiscale_output: bool = True,
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] = BN,
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            make_stage(block, count, before, planes, conv_cfg=conv_cfg, norm_cfg=norm_cfg)
            for count, before, planes in zip(num_blocks, in_channels, num_channels)
        )
        widths = [planes * block.expansion for planes in num_channels]
        make = partial(conv_norm, conv_cfg=conv_cfg, norm_cfg=norm_cfg)
        outputs = range(len(widths) if multiscale_output else 1)
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(exchange(make, widths, j, i) for j in range(len(widths))) for i in outputs
        )
        self.relu = nn.ReLU()

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Per branch (N, C_i, H / 2^i, W / 2^i), to the same."""
        maps = [branch(x) for branch, x in zip(self.branches, maps)]
        outputs = []
        for row in self.fuse_layers:
            moved = [layer(x) for layer, x in zip(row, maps)]  # type: ignore[call-overload]
            outputs.append(self.relu(sum(moved[1:], start=moved[0])))
        return outputs


def exchange(make: Any, widths: Sequence[int], source: int, target: int) -> nn.Module:
    """From one branch's resolution and width to another's. make: `conv_norm` without the last two settings."""
    if source == target:
        return nn.Identity()
    if source > target:
        upsample = nn.Upsample(scale_factor=2 ** (source - target), mode="nearest")
        return nn.Sequential(*make(widths[source], widths[target], 1, 1, relu=False), upsample)
    steps = [make(widths[source], widths[source], 3, 2, relu=True) for _ in range(target - source - 1)]
    return nn.Sequential(*steps, make(widths[source], widths[target], 3, 2, relu=False))


class HRNet(nn.Module):
    """A stem and four stages; from stage to stage a branch of half the resolution joins. Returns all branches.

    extra: per stage (`stage1` to `stage4`) `num_modules`, `num_branches`, `block` ("BASIC" or "BOTTLENECK"),
    `num_blocks` and `num_channels`. norm_eval: batch norm keeps its statistics in training.
    """

    def __init__(
        self,
        extra: Mapping[str, Mapping[str, Any]],
        in_channels: int = 3,
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] = BN,
        norm_eval: bool = True,
        zero_init_residual: bool = False,
        multiscale_output: bool = True,
    ) -> None:
        super().__init__()
        self.norm_eval = norm_eval
        common: dict[str, Any] = {"conv_cfg": conv_cfg, "norm_cfg": norm_cfg}
        self.conv1 = make_conv(conv_cfg, in_channels, STEM_CHANNELS, 3, stride=2, padding=1, bias=False)
        self.conv2 = make_conv(conv_cfg, STEM_CHANNELS, STEM_CHANNELS, 3, stride=2, padding=1, bias=False)
        self.norm_names = []
        for number in (1, 2):
            name, norm = make_norm(norm_cfg, STEM_CHANNELS, number)
            self.add_module(name, norm)
            self.norm_names.append(name)
        self.relu = nn.ReLU(inplace=True)
        first, block = extra["stage1"], BLOCKS[extra["stage1"]["block"]]
        self.layer1 = make_stage(block, first["num_blocks"][0], STEM_CHANNELS, first["num_channels"][0], **common)
        widths = [first["num_channels"][0] * block.expansion]
        for number in (2, 3, 4):
            stage = extra[f"stage{number}"]
            before, widths = widths, [c * BLOCKS[stage["block"]].expansion for c in stage["num_channels"]]
            self.add_module(f"transition{number - 1}", make_transition(before, widths, conv_cfg, norm_cfg))
            multiscale = multiscale_output or number < 4
            self.add_module(f"stage{number}", make_modules(stage, widths, multiscale, conv_cfg, norm_cfg))
        self.init_weights(zero_init_residual)

    def init_weights(self, zero_init_residual: bool) -> None:
        """Kaiming initialization."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if zero_init_residual and isinstance(module, (BasicBlock, Bottleneck)):
                module.zero_last_norm()

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, 3, H, W) to maps (N, C_i, H / 2^(2 + i), W / 2^(2 + i)), finest first."""
        norm1, norm2 = (getattr(self, name) for name in self.norm_names)
        x = self.relu(norm2(self.conv2(self.relu(norm1(self.conv1(x))))))
        maps = [self.layer1(x)]
        for number in (2, 3, 4):
            transition = getattr(self, f"transition{number - 1}")
            maps = [step(maps[min(i, len(maps) - 1)]) for i, step in enumerate(transition)]
            maps = getattr(self, f"stage{number}")(maps)
        return maps

    def train(self, mode: bool = True) -> HRNet:
        """Training mode; batch norm keeps its statistics where asked."""
        super().train(mode)
        if self.norm_eval:
            keep_statistics(self)
        return self


def make_transition(before: Sequence[int], widths: Sequence[int], conv_cfg: Any, norm_cfg: Any) -> nn.ModuleList:
    """Per branch of a stage, from the stage before: its own branch at the new width, or strided from the last one."""
    make = partial(conv_norm, conv_cfg=conv_cfg, norm_cfg=norm_cfg, relu=True)
    layers: list[nn.Module] = []
    for i, width in enumerate(widths):
        if i < len(before):
            layers.append(make(before[i], width, 3, 1) if before[i] != width else nn.Identity())
        else:
            steps = i + 1 - len(before)
            layers.append(
                nn.Sequential(*(make(before[-1], width if k == steps - 1 else before[-1], 3, 2) for k in range(steps)))
            )
    return nn.ModuleList(layers)


def make_modules(
    stage: Mapping[str, Any], widths: Sequence[int], multiscale_output: bool, conv_cfg: Any, norm_cfg: Any
) -> nn.Sequential:
    """The modules of a stage; only the last may have a single output."""
    last = stage["num_modules"] - 1
    return nn.Sequential(
        *(
            HRModule(
                BLOCKS[stage["block"]],
                widths,
                stage["num_blocks"],
                stage["num_channels"],
                multiscale_output or i < last,
                conv_cfg,
                norm_cfg,
            )
            for i in range(stage["num_modules"])
        )
    )
