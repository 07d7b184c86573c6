"""Pyramid Vision Transformer (Wang et al., 2021), versions 1 and 2."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.layers.activation import make_activation
from zoo.models.layers.norm import make_norm
from zoo.models.layers.patches import PatchEmbed
from zoo.models.layers.stochastic_depth import StochasticDepth
from zoo.models.layers.tracing import recording

GELU = {"type": "GELU"}
LN = {"type": "LN", "eps": 1e-6}


class MixFFN(nn.Module):
    """Two 1x1 convolutions; with `use_conv` a depthwise 3x3 one between them, which tells pixels where they are."""

    def __init__(
        self, embed_dims: int, feedforward_channels: int, act_cfg: Mapping[str, Any], drop_rate: float, use_conv: bool
    ) -> None:
        super().__init__()
        hidden = feedforward_channels
        layers: list[nn.Module] = [nn.Conv2d(embed_dims, hidden, 1)]
        if use_conv:
            layers.append(nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden))
        layers += [make_activation(act_cfg), nn.Dropout(drop_rate), nn.Conv2d(hidden, embed_dims, 1)]
        self.layers = nn.Sequential(*layers, nn.Dropout(drop_rate))

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, embed_dims) to the same."""
        return self.layers(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class SpatialReductionAttention(nn.Module):
    """Self-attention whose keys and values are patches of `sr_ratio` squared pixels."""

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        attn_drop_rate: float,
        drop_rate: float,
        qkv_bias: bool,
        norm_cfg: Mapping[str, Any],
        sr_ratio: int,
    ) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(embed_dims, num_heads, attn_drop_rate, bias=qkv_bias, batch_first=True)
        self.proj_drop = nn.Dropout(drop_rate)
        self.sr = None
        if sr_ratio > 1:
            self.sr = nn.Conv2d(embed_dims, embed_dims, sr_ratio, sr_ratio)
            self.norm = make_norm(norm_cfg, embed_dims)[1]

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, embed_dims) to the same."""
        keys = x if self.sr is None else self.norm(self.sr(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        keys = keys.flatten(1, 2)
        values = keys.view_as(keys) if recording() else keys  # of one tensor as both, an ONNX graph keeps the size
        out = self.attn(x.flatten(1, 2), keys, values, need_weights=False)[0]
        return self.proj_drop(out).view(x.shape)


class PVTEncoderLayer(nn.Module):
    """Attention and feed-forward network, each behind a normalization and with a shortcut."""

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        feedforward_channels: int,
        drop_rate: float,
        attn_drop_rate: float,
        drop_path_rate: float,
        qkv_bias: bool,
        act_cfg: Mapping[str, Any],
        norm_cfg: Mapping[str, Any],
        sr_ratio: int,
        use_conv_ffn: bool,
    ) -> None:
        super().__init__()
        self.norm1 = make_norm(norm_cfg, embed_dims)[1]
        self.attn = SpatialReductionAttention(
            embed_dims, num_heads, attn_drop_rate, drop_rate, qkv_bias, norm_cfg, sr_ratio
        )
        self.norm2 = make_norm(norm_cfg, embed_dims)[1]
        self.ffn = MixFFN(embed_dims, feedforward_channels, act_cfg, drop_rate, use_conv_ffn)
        self.drop_path = StochasticDepth(drop_path_rate)

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, embed_dims) to the same."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.ffn(self.norm2(x)))


class AbsolutePositionEmbedding(nn.Module):
    """A learned vector per cell of a `size` squared grid, interpolated to the map's grid."""

    def __init__(self, size: int, channels: int, drop_rate: float = 0.0) -> None:
        super().__init__()
        self.size = size
        self.pos_embed = nn.Parameter(torch.zeros(1, size * size, channels))
        self.drop = nn.Dropout(drop_rate)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, channels) to the same."""
        grid = self.pos_embed.unflatten(1, (self.size, self.size)).permute(0, 3, 1, 2)
        grid = F.interpolate(grid, size=x.shape[1:3], mode="bilinear")
        return self.drop(x + grid.permute(0, 2, 3, 1))


class PyramidVisionTransformer(nn.Module):
    """Four stages of patches, attention with reduced keys, and feed-forward networks.

    Per stage: num_layers, num_heads (also the width, in multiples of `embed_dims`), patch_sizes, strides, paddings,
    sr_ratios, mlp_ratios. Returns the outputs of the stages in `out_indices`, finest first.
    """

    def __init__(
        self,
        pretrain_img_size: int = 224,
        in_channels: int = 3,
        embed_dims: int = 64,
        num_layers: Sequence[int] = (3, 4, 6, 3),
        num_heads: Sequence[int] = (1, 2, 5, 8),
        patch_sizes: Sequence[int] = (4, 2, 2, 2),
        strides: Sequence[int] = (4, 2, 2, 2),
        paddings: Sequence[int] = (0, 0, 0, 0),
        sr_ratios: Sequence[int] = (8, 4, 2, 1),
        out_indices: Sequence[int] = (0, 1, 2, 3),
        mlp_ratios: Sequence[int] = (8, 8, 4, 4),
        qkv_bias: bool = True,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.1,
        use_abs_pos_embed: bool = True,
        norm_after_stage: bool = False,
        use_conv_ffn: bool = False,
        act_cfg: Mapping[str, Any] = GELU,
        norm_cfg: Mapping[str, Any] = LN,
    ) -> None:
        super().__init__()
        self.out_indices = tuple(out_indices)
        rates = iter(torch.linspace(0, drop_path_rate, sum(num_layers), device="cpu").tolist())
        self.layers = nn.ModuleList()
        for i, count in enumerate(num_layers):
            width = embed_dims * num_heads[i]
            embed = PatchEmbed(in_channels, width, patch_sizes[i], strides[i], paddings[i], norm_cfg)
            blocks = nn.ModuleList()
            if use_abs_pos_embed:
                size = pretrain_img_size // math.prod(patch_sizes[: i + 1])
                blocks.append(AbsolutePositionEmbedding(size, width, drop_rate))
            blocks.extend(
                PVTEncoderLayer(
                    width,
                    num_heads[i],
                    mlp_ratios[i] * width,
                    drop_rate,
                    attn_drop_rate,
                    next(rates),
                    qkv_bias,
                    act_cfg,
                    norm_cfg,
                    sr_ratios[i],
                    use_conv_ffn,
                )
                for _ in range(count)
            )
            norm = make_norm(norm_cfg, width)[1] if norm_after_stage else nn.Identity()
            self.layers.append(nn.ModuleList([embed, blocks, norm]))
            in_channels = width
        self.init_weights()

    def init_weights(self) -> None:
        """Truncated normal weights of linear layers, He initialization of convolutions."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Conv2d):
                fan_out = math.prod(module.kernel_size) * module.out_channels // module.groups
                nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))

    @staticmethod
    def run_stage(stage: Any, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H / stride, W / stride)."""
        embed, blocks, norm = stage
        tokens = embed(x)
        for block in blocks:
            tokens = block(tokens)
        return norm(tokens).permute(0, 3, 1, 2).contiguous()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, in_channels, H, W) to maps (N, C_i, H / 2^(2 + i), W / 2^(2 + i)), finest first."""
        outputs = []
        for i in range(len(self.layers)):
            x = self.run_stage(self.layers[i], x)
            if i in self.out_indices:
                outputs.append(x)
        return tuple(outputs)


class PyramidVisionTransformerV2(PyramidVisionTransformer):
    """PVTv2 (Wang et al., 2021): overlapping patches, and convolutions in place of positions."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            patch_sizes=(7, 3, 3, 3),
            paddings=(3, 1, 1, 1),
            use_abs_pos_embed=False,
            norm_after_stage=True,
            use_conv_ffn=True,
            **kwargs,
        )
