"""ConvNeXt (Liu et al., 2022) and ConvNeXt V2 (Woo et al., 2023)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import BuildError
from zoo.models.layers.activation import make_activation
from zoo.models.layers.freezing import freeze
from zoo.models.layers.memory_format import eager_on_cpu
from zoo.models.layers.norm import LayerNorm2d, make_norm
from zoo.models.layers.rows import by_rows
from zoo.models.layers.stochastic_depth import StochasticDepth

LN = {"type": "LN2d", "eps": 1e-6}
GELU = {"type": "GELU"}
SQUARES = 1 << 18  # numbers of an image that are squared at a time
# Name -> blocks and channels per stage.
ARCHITECTURES: dict[str, dict[str, Sequence[int]]] = {
    "tiny": {"depths": (3, 3, 9, 3), "channels": (96, 192, 384, 768)},
    "small": {"depths": (3, 3, 27, 3), "channels": (96, 192, 384, 768)},
    "base": {"depths": (3, 3, 27, 3), "channels": (128, 256, 512, 1024)},
    "large": {"depths": (3, 3, 27, 3), "channels": (192, 384, 768, 1536)},
    "xlarge": {"depths": (3, 3, 27, 3), "channels": (256, 512, 1024, 2048)},
}


class GRN(nn.Module):
    """Global response normalization: channels compete by their norm over the image (ConvNeXt V2, section 3.3)."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.zeros(channels)), nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, channels) to the same."""
        norm = channel_norms(x)
        share = norm / (norm.mean(dim=-1, keepdim=True) + self.eps)
        return torch.addcmul(self.beta, x, 1 + self.gamma * share)


def channel_norms(x: Tensor) -> Tensor:
    """The Euclidean norm of each channel over an image's map: (N, H, W, C) to (N, 1, 1, C).

    On a CPU in inference squares are summed some rows at a time, since PyTorch walks through memory channel by channel.
    """
    if not eager_on_cpu(x):
        return torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True)
    pieces = x.flatten(1, 2).split(max(SQUARES // x.shape[3], 1), 1)
    squares = torch.stack([piece.square().sum(1) for piece in pieces]).sum(0)
    return squares.sqrt()[:, None, None]


class ConvNeXtBlock(nn.Module):
    """A depthwise 7x7 convolution, normalization, and two pointwise layers, scaled per channel, with a shortcut.

    use_grn: response normalization between the pointwise layers.
    """

    def __init__(
        self,
        channels: int,
        norm_cfg: Mapping[str, Any] = LN,
        act_cfg: Mapping[str, Any] = GELU,
        drop_path_rate: float = 0.0,
        layer_scale_init_value: float = 1e-6,
        use_grn: bool = False,
    ) -> None:
        super().__init__()
        self.depthwise_conv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = make_norm(norm_cfg, channels)[1]
        self.pointwise_conv1 = nn.Linear(channels, 4 * channels)
        self.act = make_activation(act_cfg)
        self.grn = GRN(4 * channels) if use_grn else nn.Identity()
        self.pointwise_conv2 = nn.Linear(4 * channels, channels)
        self.gamma = None
        if layer_scale_init_value > 0:
            self.gamma = nn.Parameter(torch.full((channels,), layer_scale_init_value))
        self.drop_path = StochasticDepth(drop_path_rate)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to the same."""
        out = self.norm(self.depthwise_conv(x)).permute(0, 2, 3, 1)
        alike = isinstance(self.grn, nn.Identity)  # response normalization looks at all cells of an image
        out = by_rows(self.pointwise, self, out, 4 * out.shape[-1]) if alike else self.pointwise(out)
        if self.gamma is not None:
            out = out * self.gamma
        return x + self.drop_path(out.permute(0, 3, 1, 2))

    def pointwise(self, x: Tensor) -> Tensor:
        """Both pointwise layers of (..., channels) and what is between them."""
        return self.pointwise_conv2(self.grn(self.act(self.pointwise_conv1(x))))  # type: ignore[no-any-return]


class ConvNeXt(nn.Module):
    """Four stages of blocks; returns the normalized outputs of the stages in `out_indices`, finest first.

    arch: a name in `ARCHITECTURES`, or such a mapping. layer_scale_init_value: 0 leaves the scaling out. frozen_stages:
    so many stages are not trained. gap_before_final_norm: pooled outputs, which detectors cannot use. use_grn: V2.
    """

    def __init__(
        self,
        arch: str | Mapping[str, Sequence[int]] = "tiny",
        in_channels: int = 3,
        stem_patch_size: int = 4,
        norm_cfg: Mapping[str, Any] = LN,
        act_cfg: Mapping[str, Any] = GELU,
        drop_path_rate: float = 0.0,
        layer_scale_init_value: float = 1e-6,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = 0,
        gap_before_final_norm: bool = False,
        use_grn: bool = False,
    ) -> None:
        super().__init__()
        if gap_before_final_norm:
            raise BuildError("ConvNeXt: gap_before_final_norm pools the maps away; detectors need it to be false")
        if isinstance(arch, str):
            if arch not in ARCHITECTURES:
                raise BuildError(f"there is no ConvNeXt '{arch}'; known: {', '.join(ARCHITECTURES)}")
            arch = ARCHITECTURES[arch]
        depths, channels = arch["depths"], arch["channels"]
        self.out_indices, self.frozen_stages = tuple(out_indices), frozen_stages
        rates = iter(torch.linspace(0, drop_path_rate, sum(depths), device="cpu").tolist())
        stem = nn.Conv2d(in_channels, channels[0], stem_patch_size, stem_patch_size)
        self.downsample_layers = nn.ModuleList([nn.Sequential(stem, make_norm(norm_cfg, channels[0])[1])])
        self.downsample_layers.extend(
            nn.Sequential(self.downsampling_norm(norm_cfg, before), nn.Conv2d(before, after, 2, 2))
            for before, after in pairwise(channels)
        )
        self.stages = nn.ModuleList(
            nn.Sequential(
                *(
                    ConvNeXtBlock(width, norm_cfg, act_cfg, next(rates), layer_scale_init_value, use_grn)
                    for _ in range(depth)
                )
            )
            for depth, width in zip(depths, channels)
        )
        for i in self.out_indices:
            self.add_module(f"norm{i}", make_norm(norm_cfg, channels[i])[1])
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def downsampling_norm(self, norm_cfg: Mapping[str, Any], channels: int) -> nn.Module:
        """Between two stages; the default eps, not norm_cfg's, is what weights of 2.x were trained with."""
        return LayerNorm2d(channels)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, in_channels, H, W) to maps (N, C_i, H / 2^(2 + i), W / 2^(2 + i)), finest first."""
        outputs = []
        for i, (downsample, stage) in enumerate(zip(self.downsample_layers, self.stages)):
            x = stage(downsample(x))
            if i in self.out_indices:
                outputs.append(getattr(self, f"norm{i}")(x).contiguous())
        return tuple(outputs)

    def train(self, mode: bool = True) -> ConvNeXt:
        """Training mode, but frozen stages stay frozen."""
        super().train(mode)
        count = max(self.frozen_stages, 0)
        freeze([*self.downsample_layers[:count], *self.stages[:count]])
        return self


class PretrainConvNeXt(ConvNeXt):
    """MMPreTrain's ConvNeXt, which MMDetection 3.x uses: the normalization between two stages is as all others."""

    def downsampling_norm(self, norm_cfg: Mapping[str, Any], channels: int) -> nn.Module:
        """Between two stages."""
        return make_norm(norm_cfg, channels)[1]
