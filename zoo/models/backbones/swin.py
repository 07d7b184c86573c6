"""Swin Transformer (Liu et al., 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.errors import BuildError
from zoo.models.layers.freezing import freeze
from zoo.models.layers.norm import make_norm
from zoo.models.layers.patches import LN, PatchEmbed, PatchMerging, blocks, pad_to_multiple
from zoo.models.layers.stochastic_depth import StochasticDepth
from zoo.models.transformer.feedforward import FFN

GELU = {"type": "GELU"}
BLOCKED = -100.0  # added to the energy between pixels that the shift made neighbors


class WindowMSA(nn.Module):
    """Multi-head self-attention within windows of `window_size` squared pixels, with a learned relative position bias.

    State: also the buffer `relative_position_index`, which pixel pairs have which row of the bias table.
    """

    relative_position_index: Tensor

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        window_size: int,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        attn_drop_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_heads, self.scale, self.attn_drop_rate = num_heads, qk_scale, attn_drop_rate
        self.qkv = nn.Linear(embed_dims, 3 * embed_dims, bias=qkv_bias)
        self.proj = nn.Linear(embed_dims, embed_dims)
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window_size - 1) ** 2, num_heads))
        self.register_buffer("relative_position_index", relative_position_index(window_size))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(windows, pixels, C) to the same. mask: (windows per image, pixels, pixels), added to the energy."""
        x = self.qkv(x)
        q, k, v = x.reshape(x.shape[0], x.shape[1], 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        bias = self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)[None]
        if mask is not None:
            bias = (bias + mask[:, None]).repeat(x.shape[0] // mask.shape[0], 1, 1, 1)
        dropout = self.attn_drop_rate if self.training else 0.0
        out = F.scaled_dot_product_attention(q, k, v, bias, dropout, scale=self.scale)
        return self.proj(out.transpose(1, 2).flatten(2))


def relative_position_index(size: int) -> Tensor:
    """(size^2, size^2): for each pair of pixels of a window, the row of the bias table."""
    rows, columns = torch.arange(size).repeat_interleave(size), torch.arange(size).repeat(size)
    down, across = rows[:, None] - rows + size - 1, columns[:, None] - columns + size - 1
    return down * (2 * size - 1) + across


class ShiftWindowMSA(nn.Module):
    """Window attention on a map; every other block shifts the windows by half their size."""

    def __init__(self, embed_dims: int, num_heads: int, window_size: int, shift_size: int, **kwargs: Any) -> None:
        super().__init__()
        self.window_size, self.shift_size = window_size, shift_size
        self.w_msa = WindowMSA(embed_dims, num_heads, window_size, **kwargs)

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, C) to the same."""
        height, width = x.shape[1:3]
        x, shift, mask = pad_to_multiple(x, self.window_size), self.shift_size, None
        if shift:
            mask = shift_mask(x.shape[1], x.shape[2], self.window_size, shift, x)
            x = x.roll((-shift, -shift), (1, 2))
        windows = partition(x, self.window_size)
        x = unpartition(self.w_msa(windows, mask), self.window_size, x.shape[1], x.shape[2])
        if shift:
            x = x.roll((shift, shift), (1, 2))
        return x[:, :height, :width]


def partition(x: Tensor, size: int) -> Tensor:
    """(N, H, W, C) to windows (N * H * W / size^2, size^2, C)."""
    return blocks(x, size).transpose(2, 3).reshape(-1, size * size, x.shape[3])


def unpartition(windows: Tensor, size: int, height: int, width: int) -> Tensor:
    """Windows (N * height * width / size^2, size^2, C) to (N, height, width, C)."""
    x = windows.reshape(-1, height // size, width // size, size, size, windows.shape[2]).transpose(2, 3)
    return x.reshape(-1, height, width, windows.shape[2])  # of (N, rows, size, columns, size, C)


def shift_mask(height: int, width: int, size: int, shift: int, like: Tensor) -> Tensor:
    """(windows, size^2, size^2): 0 between pixels that were neighbors before the shift, `BLOCKED` between others."""
    row, column = (part(length, size, shift, like.device) for length in (height, width))
    regions = partition((3 * row[:, None] + column)[None, :, :, None], size)[..., 0]
    return (regions[:, :, None] != regions[:, None]).to(like.dtype) * BLOCKED


def part(length: int, size: int, shift: int, device: torch.device) -> Tensor:
    """Along one axis: 0 before the last window, then 1, and 2 for what the shift brought from the other end."""
    position = torch.arange(length, device=device)
    return (position >= length - size).long() + (position >= length - shift).long()


class SwinBlock(nn.Module):
    """Attention and feed-forward network, each behind a normalization and with a shortcut."""

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        feedforward_channels: int,
        window_size: int,
        shift: bool,
        drop_rate: float,
        drop_path_rate: float,
        act_cfg: Mapping[str, Any],
        norm_cfg: Mapping[str, Any],
        **attention: Any,
    ) -> None:
        super().__init__()
        self.norm1 = make_norm(norm_cfg, embed_dims)[1]
        self.attn = ShiftWindowMSA(embed_dims, num_heads, window_size, window_size // 2 if shift else 0, **attention)
        self.norm2 = make_norm(norm_cfg, embed_dims)[1]
        self.ffn = FFN(embed_dims, feedforward_channels, act_cfg=act_cfg, ffn_drop=drop_rate, add_identity=False)
        self.drop = nn.Dropout(drop_rate)
        self.drop_path = StochasticDepth(drop_path_rate)

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, embed_dims) to the same."""
        x = x + self.drop_path(self.drop(self.attn(self.norm1(x))))
        return x + self.drop_path(self.ffn(self.norm2(x)))


class SwinStage(nn.Module):
    """Blocks, with every other one's windows shifted, and the merging of patches for the next stage."""

    def __init__(self, blocks: Sequence[nn.Module], downsample: nn.Module | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, H, W, C) to the same, and to the next stage's input (N, H / 2, W / 2, 2 * C)."""
        for block in self.blocks:
            x = block(x)
        return x, x if self.downsample is None else self.downsample(x)


class SwinTransformer(nn.Module):
    """Stages of window attention; returns the normalized outputs of the stages in `out_indices`, finest first.

    depths, num_heads: per stage. pretrain_img_size: of the absolute positions, where `use_abs_pos_embed` adds them.
    patch_norm: normalize patches. frozen_stages: so many stages (and the patches, from 0 on) are not trained. strides:
    of the patches and of each merging of patches, which can only be 2.
    """

    def __init__(
        self,
        pretrain_img_size: int | Sequence[int] = 224,
        in_channels: int = 3,
        embed_dims: int = 96,
        patch_size: int = 4,
        window_size: int = 7,
        mlp_ratio: float = 4,
        depths: Sequence[int] = (2, 2, 6, 2),
        num_heads: Sequence[int] = (3, 6, 12, 24),
        out_indices: Sequence[int] = (0, 1, 2, 3),
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        patch_norm: bool = True,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.1,
        use_abs_pos_embed: bool = False,
        act_cfg: Mapping[str, Any] = GELU,
        norm_cfg: Mapping[str, Any] = LN,
        frozen_stages: int = -1,
        strides: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        if strides is not None and list(strides) != [patch_size] + [2] * (len(depths) - 1):
            raise BuildError(f"SwinTransformer: patches of {patch_size} pixels, then 2 x 2, not strides {strides}")
        self.out_indices, self.frozen_stages = tuple(out_indices), frozen_stages
        merge_norm = norm_cfg if patch_norm else None
        self.patch_embed = PatchEmbed(in_channels, embed_dims, patch_size, patch_size, norm_cfg=merge_norm)
        self.absolute_pos_embed = positions(pretrain_img_size, patch_size, embed_dims) if use_abs_pos_embed else None
        self.drop_after_pos = nn.Dropout(drop_rate)
        make_block = partial(
            SwinBlock,
            drop_rate=drop_rate,
            act_cfg=act_cfg,
            norm_cfg=norm_cfg,
            qkv_bias=qkv_bias,
            qk_scale=qk_scale,
            attn_drop_rate=attn_drop_rate,
        )
        rates = iter(torch.linspace(0, drop_path_rate, sum(depths), device="cpu").tolist())
        self.stages = nn.ModuleList()
        for i, (depth, heads) in enumerate(zip(depths, num_heads)):
            width = embed_dims * 2**i
            sizes = width, heads, int(mlp_ratio * width), window_size
            blocks = [make_block(*sizes, shift=k % 2 == 1, drop_path_rate=next(rates)) for k in range(depth)]
            last = i == len(depths) - 1
            self.stages.append(SwinStage(blocks, None if last else PatchMerging(width, 2 * width, merge_norm)))
        for i in self.out_indices:
            self.add_module(f"norm{i}", make_norm(norm_cfg, embed_dims * 2**i)[1])
        self.init_weights()

    def init_weights(self) -> None:
        """Truncated normal weights."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, in_channels, H, W) to maps (N, embed_dims * 2^i, H / 2^(2 + i), W / 2^(2 + i)), finest first."""
        x = self.patch_embed(x)
        if self.absolute_pos_embed is not None:
            positions = F.interpolate(self.absolute_pos_embed, size=x.shape[1:3], mode="bicubic")
            x = x + positions.permute(0, 2, 3, 1)
        x, outputs = self.drop_after_pos(x), []
        for i, stage in enumerate(self.stages):
            out, x = stage(x)
            if i in self.out_indices:
                outputs.append(getattr(self, f"norm{i}")(out).permute(0, 3, 1, 2).contiguous())
        return tuple(outputs)

    def train(self, mode: bool = True) -> SwinTransformer:
        """Training mode, but frozen stages stay frozen."""
        super().train(mode)
        if self.frozen_stages >= 0:
            norms = [getattr(self, f"norm{i}") for i in self.out_indices if i < self.frozen_stages]
            freeze([self.patch_embed, self.drop_after_pos, *self.stages[: self.frozen_stages], *norms])
            if self.absolute_pos_embed is not None:
                self.absolute_pos_embed.requires_grad_(False)
        return self


def positions(image_size: int | Sequence[int], patch_size: int, channels: int) -> nn.Parameter:
    """Learned positions (1, channels, H, W), one for each patch of an image of the pretraining's size."""
    sides = [image_size] * 2 if isinstance(image_size, int) else image_size
    return nn.Parameter(torch.zeros(1, channels, *(side // patch_size for side in sides)))
