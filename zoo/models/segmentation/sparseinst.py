"""SparseInst's encoder and decoder (Cheng et al., Sparse Instance Activation, 2022, section 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.dense_heads.towers import prior_bias
from zoo.models.layers.activation import make_activation
from zoo.models.layers.fast_conv import FastConv2d

RELU = {"type": "ReLU"}


class PyramidPooling(nn.Module):
    """Averages over a few grids of the image, as further channels of every cell."""

    def __init__(self, in_channels: int, channels: int, act_cfg: Mapping[str, Any], sizes: Sequence[int]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(size), nn.Conv2d(in_channels, channels, 1)) for size in sizes
        )
        self.bottleneck = nn.Conv2d(in_channels + len(sizes) * channels, in_channels, 1)
        self.act = make_activation(act_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to the same."""
        grids = [F.interpolate(self.act(stage(x)), size=x.shape[2:], mode="bilinear") for stage in self.stages]
        return self.act(self.bottleneck(torch.cat([*grids, x], dim=1)))


class InstanceContextEncoder(nn.Module):
    """A feature pyramid whose levels are joined at the finest one's resolution.

    in_channels: of the backbone's levels, finest first. with_ppm: pyramid pooling of the coarsest level.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int = 256,
        with_ppm: bool = True,
        act_cfg: Mapping[str, Any] = RELU,
    ) -> None:
        super().__init__()
        self.fpn_laterals = nn.ModuleList(nn.Conv2d(c, out_channels, 1) for c in reversed(in_channels))
        self.fpn_outputs = nn.ModuleList(FastConv2d(out_channels, out_channels, 3, padding=1) for _ in in_channels)
        self.ppm = PyramidPooling(out_channels, out_channels // 4, act_cfg, (1, 2, 3, 6)) if with_ppm else nn.Identity()
        self.fusion = nn.Conv2d(out_channels * len(in_channels), out_channels, 1)
        for conv in (*self.fpn_laterals, *self.fpn_outputs):
            nn.init.kaiming_uniform_(conv.weight, a=1)  # type: ignore[arg-type]
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        init_kaiming(self.fusion)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Levels (N, C_i, H_i, W_i), finest first, to (N, out_channels, H_0, W_0)."""
        above = self.ppm(self.fpn_laterals[0](features[-1]))
        levels = [self.fpn_outputs[0](above)]
        for x, lateral, output in zip(reversed(features[:-1]), self.fpn_laterals[1:], self.fpn_outputs[1:]):
            above = lateral(x) + F.interpolate(above, scale_factor=2.0, mode="nearest")
            levels.insert(0, output(above))
        size = levels[0].shape[2:]
        return self.fusion(
            torch.cat([levels[0], *(F.interpolate(x, size, mode="bilinear") for x in levels[1:])], dim=1)
        )


class InstanceBranch(nn.Module):
    """Instances as weighted averages of features: each has a map of where it is active."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        depth: int,
        num_masks: int,
        num_classes: int,
        kernel_dim: int,
        act_cfg: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self.inst_convs = convolutions(in_channels, channels, depth, act_cfg)
        self.iam_conv = nn.Conv2d(channels, num_masks, 3, padding=1)
        self.cls_score = nn.Linear(channels, num_classes)
        self.mask_kernel = nn.Linear(channels, kernel_dim)
        self.objectness = nn.Linear(channels, 1)
        for layer in (self.iam_conv, self.cls_score, self.mask_kernel):
            nn.init.normal_(layer.weight, std=0.01)  # type: ignore[arg-type]
        for layer in (self.iam_conv, self.cls_score):
            nn.init.constant_(layer.bias, prior_bias())  # type: ignore[arg-type]
        nn.init.zeros_(self.mask_kernel.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, in_channels, H, W) to class logits (N, Q, C), mask kernels (N, Q, K) and objectness logits (N, Q, 1)."""
        x = self.inst_convs(x)
        active = self.iam_conv(x).sigmoid().flatten(2)
        active = active / active.sum(dim=-1, keepdim=True).clamp(min=1e-6)
        instances = active @ x.flatten(2).transpose(1, 2)
        return self.cls_score(instances), self.mask_kernel(instances), self.objectness(instances)


class MaskBranch(nn.Module):
    """Features whose products with the instances' kernels are the masks."""

    def __init__(
        self, in_channels: int, channels: int, depth: int, kernel_dim: int, act_cfg: Mapping[str, Any]
    ) -> None:
        super().__init__()
        self.mask_convs = convolutions(in_channels, channels, depth, act_cfg)
        self.projection = nn.Conv2d(channels, kernel_dim, 1)
        init_kaiming(self.projection)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, kernel_dim, H, W)."""
        return self.projection(self.mask_convs(x))


class BaseIAMDecoder(nn.Module):
    """At most `num_masks` instances of an image: classes, objectness and masks, without suppression.

    in_channels: of the encoder, and two for the coordinates. scale_factor: by which masks are enlarged in the end.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        ins_dim: int = 256,
        ins_conv: int = 4,
        mask_dim: int = 256,
        mask_conv: int = 4,
        kernel_dim: int = 128,
        scale_factor: float = 2.0,
        output_iam: bool = False,
        num_masks: int = 100,
        act_cfg: Mapping[str, Any] = RELU,
    ) -> None:
        super().__init__()
        self.scale_factor, self.num_classes = scale_factor, num_classes
        self.inst_branch = InstanceBranch(in_channels, ins_dim, ins_conv, num_masks, num_classes, kernel_dim, act_cfg)
        self.mask_branch = MaskBranch(in_channels, mask_dim, mask_conv, kernel_dim, act_cfg)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, C, H, W) to class logits (N, Q, C), objectness logits (N, Q) and mask logits (N, Q, H', W')."""
        x = torch.cat([coordinates(x), x], dim=1)
        logits, kernels, objectness = self.inst_branch(x)
        masks = torch.einsum("nqk,nkhw->nqhw", kernels, self.mask_branch(x))
        return logits, objectness[..., 0], F.interpolate(masks, scale_factor=self.scale_factor, mode="bilinear")


def convolutions(in_channels: int, channels: int, depth: int, act_cfg: Mapping[str, Any]) -> nn.Sequential:
    """3x3 convolutions with activations."""
    layers: list[nn.Module] = []
    for i in range(depth):
        conv = FastConv2d(in_channels if i == 0 else channels, channels, 3, padding=1)
        init_kaiming(conv)
        layers += [conv, make_activation(act_cfg, inplace=True)]
    return nn.Sequential(*layers)


def init_kaiming(conv: nn.Conv2d) -> None:
    """He's initialization for a convolution in front of a ReLU."""
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]


def coordinates(x: Tensor) -> Tensor:
    """x and y of every cell from -1 to 1, (N, 2, H, W)."""
    rows, columns = (-1 + 2 * torch.arange(n, device=x.device, dtype=x.dtype) / (n - 1) for n in x.shape[2:])
    y, x_ = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack([x_, y]).expand(x.shape[0], -1, -1, -1)
