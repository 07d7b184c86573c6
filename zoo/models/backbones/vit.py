"""Plain vision transformers as backbones (Li et al., Exploring Plain Vision Transformer Backbones, 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.layers.activation import make_activation
from zoo.models.layers.memory_format import added, eager_on_cpu
from zoo.models.layers.norm import make_norm
from zoo.models.layers.rows import by_rows
from zoo.models.layers.stochastic_depth import StochasticDepth

LN = {"type": "LN"}
GELU = {"type": "GELU"}
Positions = tuple[Tensor, Tensor]
SCORES = 3 << 21  # between cells at a time on a CPU: 24 MiB, which the process keeps


class PatchProjection(nn.Module):
    """Patches to tokens, which stay in their places."""

    def __init__(self, in_chans: int, embed_dim: int, patch_size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_chans, embed_dim, patch_size, patch_size)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_chans, H, W) to (N, H / patch, W / patch, embed_dim)."""
        return self.proj(x).permute(0, 2, 3, 1)


class RelativeAttention(nn.Module):
    """Self-attention over a map, with learned positions relative to each other, apart for rows and columns.

    size: (h, w) that the learned positions are for; they are interpolated for others.
    """

    def __init__(self, dim: int, num_heads: int, qkv_bias: bool, use_rel_pos: bool, size: tuple[int, int]) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv, self.proj = nn.Linear(dim, dim * 3, bias=qkv_bias), nn.Linear(dim, dim)
        self.use_rel_pos = use_rel_pos
        if use_rel_pos:
            self.rel_pos_h, self.rel_pos_w = (
                nn.Parameter(torch.zeros(2 * side - 1, dim // num_heads)) for side in size
            )

    def forward(self, x: Tensor) -> Tensor:
        """(N, h, w, dim) to the same."""
        batch, height, width, _ = x.shape
        q, k, v = self.qkv(x).flatten(1, 2).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        q, positions = q.unflatten(2, (height, width)), self.positions(height, width)
        out = self.by_bands(q, k, v, positions) if eager_on_cpu(x) else self.attend(q, k, v, positions)
        return self.proj(out.transpose(1, 2).flatten(2)).view(batch, height, width, -1)

    def positions(self, height: int, width: int) -> Positions | None:
        """What is learned of where rows (h, h, D) and columns (w, w, D) are relative to each other."""
        if not self.use_rel_pos:
            return None
        return between(self.rel_pos_h, height), between(self.rel_pos_w, width)

    def by_bands(self, q: Tensor, k: Tensor, v: Tensor, positions: Positions | None) -> Tensor:
        """What `attend` returns, some maps or rows of a map at a time; the scores of 4096 cells would fill 0.8 GB."""
        batch, heads, height, width, _ = q.shape
        rows = max(SCORES // (heads * width * height * width), 1)
        maps = max(rows // height, 1)
        out = torch.empty_like(v)
        for n in range(0, batch, maps):
            some = slice(n, n + maps)
            for first in range(0, height, rows):
                band = slice(first, first + rows)
                there = positions and (positions[0][band], positions[1])
                values = self.attend(q[some, :, band], k[some], v[some], there)
                out[some, :, first * width : (first + rows) * width] = values
        return out

    def attend(self, q: Tensor, k: Tensor, v: Tensor, positions: Positions | None) -> Tensor:
        """(N, heads, rows * w, D): values as cells look at them. q: (N, heads, rows, w, D), some rows of the maps.

        k, v: (N, heads, h * w, D). positions: of these rows (rows, h, D) and of all columns (w, w, D).
        """
        scores = (q.flatten(2, 3) * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        if positions is not None:
            scores = added(scores, relative(q, *positions))
        return scores.softmax(dim=-1) @ v


def relative(q: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """How much each cell looks at each other, by where it is: (N, heads, rows * w, h * w). Shapes: as in `attend`."""
    rows = torch.einsum("nahwd,hkd->nahwk", q, down)
    columns = torch.einsum("nahwd,wkd->nahwk", q, across)
    return (rows[..., :, None] + columns[..., None, :]).flatten(4, 5).flatten(2, 3)


def between(positions: Tensor, size: int) -> Tensor:
    """The learned position (size, size, D) of each of `size` cells relative to each other. positions: (2 S - 1, D)."""
    count = 2 * size - 1
    if len(positions) != count:
        positions = F.interpolate(positions.T[None], size=count, mode="linear")[0].T
    cells = torch.arange(size, device=positions.device)
    return positions[cells[:, None] - cells + size - 1]


class ViTMlp(nn.Module):
    """Two linear layers."""

    def __init__(self, dim: int, hidden: int, act_cfg: Mapping[str, Any]) -> None:
        super().__init__()
        self.fc1, self.fc2, self.act = nn.Linear(dim, hidden), nn.Linear(hidden, dim), make_activation(act_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """(..., dim) to the same."""
        return by_rows(self.both, self, x, self.fc1.out_features)

    def both(self, x: Tensor) -> Tensor:
        """The same of all rows at once."""
        out: Tensor = self.fc2(self.act(self.fc1(x)))
        return out


class ViTBlock(nn.Module):
    """Attention, in windows or over the whole map, and two linear layers, with normalizations in front of them.

    window_size: 0 for attention over the whole map.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        mlp_ratio: float,
        qkv_bias: bool,
        drop_path: float,
        norm_cfg: Mapping[str, Any],
        act_cfg: Mapping[str, Any],
        use_rel_pos: bool,
        window_size: int,
        input_size: tuple[int, int],
    ) -> None:
        super().__init__()
        self.norm1, self.norm2 = make_norm(norm_cfg, dim)[1], make_norm(norm_cfg, dim)[1]
        size = (window_size, window_size) if window_size else input_size
        self.attn = RelativeAttention(dim, num_heads, qkv_bias, use_rel_pos, size)
        self.mlp = ViTMlp(dim, int(dim * mlp_ratio), act_cfg)
        self.drop_path = StochasticDepth(drop_path)
        self.window_size = window_size

    def forward(self, x: Tensor) -> Tensor:
        """(N, h, w, dim) to the same."""
        attend = self.in_windows if self.window_size else self.attn
        x = x + self.drop_path(attend(self.norm1(x)))
        out: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return out

    def in_windows(self, x: Tensor) -> Tensor:
        """Attention within windows; the map is padded with zeros until they fit."""
        side, (batch, height, width, channels) = self.window_size, x.shape
        x = F.pad(x, (0, 0, 0, -width % side, 0, -height % side))
        rows, columns = x.shape[1] // side, x.shape[2] // side
        windows = x.view(batch, rows, side, columns, side, channels).transpose(2, 3).flatten(0, 2)
        x = self.attn(windows).view(batch, rows, columns, side, side, channels).transpose(2, 3)
        return x.reshape(batch, rows * side, columns * side, channels)[:, :height, :width]


class ViT(nn.Module):
    """Tokens of one size from the first block to the last; returns one map.

    img_size, patch_size: pixels, for which the learned positions between cells are. pretrain_img_size: for which
    `pos_embed` is. window_block_indexes: blocks that attend in windows of `window_size` cells, the others everywhere.
    """

    def __init__(
        self,
        img_size: int = 1024,
        patch_size: int = 16,
        in_chans: int = 3,
        embed_dim: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        drop_path_rate: float = 0.0,
        norm_cfg: Mapping[str, Any] = LN,
        act_cfg: Mapping[str, Any] = GELU,
        use_abs_pos: bool = True,
        use_rel_pos: bool = False,
        window_size: int = 0,
        window_block_indexes: Sequence[int] = (),
        pretrain_img_size: int = 224,
        pretrain_use_cls_token: bool = True,
    ) -> None:
        super().__init__()
        self.with_class_token = pretrain_use_cls_token
        self.patch_embed = PatchProjection(in_chans, embed_dim, patch_size)
        self.pos_embed: nn.Parameter | None = None
        if use_abs_pos:
            count = (pretrain_img_size // patch_size) ** 2 + pretrain_use_cls_token
            self.pos_embed = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, count, embed_dim), std=0.02))
        rates = torch.linspace(0, drop_path_rate, depth, device="cpu").tolist()
        side = img_size // patch_size
        common: dict[str, Any] = {"norm_cfg": norm_cfg, "act_cfg": act_cfg, "use_rel_pos": use_rel_pos}
        self.blocks = nn.ModuleList(
            ViTBlock(
                embed_dim,
                num_heads,
                mlp_ratio,
                qkv_bias,
                rate,
                window_size=window_size if i in window_block_indexes else 0,
                input_size=(side, side),
                **common,
            )
            for i, rate in enumerate(rates)
        )
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, in_chans, H, W) to one map (N, embed_dim, H / patch_size, W / patch_size)."""
        x = self.patch_embed(x)
        if self.pos_embed is not None:
            x = x + self.positions((x.shape[1], x.shape[2]))
        for block in self.blocks:
            x = block(x)
        return (x.permute(0, 3, 1, 2).contiguous(),)

    def positions(self, size: tuple[int, int]) -> Tensor:
        """The learned positions (1, h, w, embed_dim) of a map of (h, w)."""
        learned = self.pos_embed[:, int(self.with_class_token) :]  # type: ignore[index]
        side = int(learned.shape[1] ** 0.5)
        grid = learned.unflatten(1, (side, side))
        if (side, side) == size:
            return grid
        grid = F.interpolate(grid.permute(0, 3, 1, 2), size=size, mode="bicubic", align_corners=False)
        return grid.permute(0, 2, 3, 1)
