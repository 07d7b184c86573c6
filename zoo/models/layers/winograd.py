"""3x3 convolutions on a CPU by fewer multiplications: Winograd's minimal filtering, F(4x4, 3x3).

A tile of 4 x 4 outputs takes 36 multiplications per pair of channels instead of 144 (Lavin and Gray, Fast Algorithms
for Convolutional Neural Networks, 2016). Before and after, a small matrix combines the cells of each tile. All of this
is done for 64 or 192 tiles at a time, so that they stay in a cache. The 36 products of matrices are one convolution in
36 groups, for which oneDNN lays out the filters once (`Filters`). The result differs from the exact one as much as that
of oneDNN's convolution does, which adds up nine times as many numbers per output.

A cell that is no number shows in all outputs of the tiles that read it, up to four cells away instead of one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.models.layers.cpu_choices import LARGE_FILTERS, MORE_TILES
from zoo.models.layers.onednn import has_onednn

SIDE, READ = 4, 6
"""Outputs along a side of a tile, and the inputs that they need."""

FEW, MANY = 64, 192
"""Tiles that are computed at once. Packed filters are for just so many, because for others oneDNN may lay them out anew
in every call, which takes longer than the convolution. So not every map has a number of its own."""

POINTS = (0, 3 / 4, -3 / 4, 3 / 2, -3 / 2)
"""Where the polynomials of the method are evaluated, besides infinity. Their powers are exact in float32, and of the
points that were tried rounding grows least with these; with the usual 0, 1, -1, 2, -2 three to four times as much."""

CPU = torch.device("cpu")
"""Where all of this is computed, whatever PyTorch's default device is."""

DIRECTLY = 2
"""How many times as long a cell takes without this method."""

GEOMETRY = ([0, 0], [1, 1], [1, 1], READ**2)
"""Padding, stride, dilation and groups of the convolution that computes the products."""


@dataclass
class Filters:
    """Filters that are ready for use.

    weight: a copy of the (K, C, 3, 3) that they were made of. threads: how many there were. packed: by the number of
    tiles at once, the factors (36 * K, C, 1, 1) as oneDNN lays them out.
    """

    weight: Tensor
    threads: int
    packed: dict[int, Tensor] = field(default_factory=dict)

    def are_for(self, weight: Tensor) -> bool:
        """Whether they were made of these numbers, for as many threads as there are now."""
        alike = self.threads == torch.get_num_threads() and self.weight.stride() == weight.stride()
        return alike and torch.equal(self.weight, weight)

    def for_tiles(self, at_once: int) -> Tensor:
        """The factors for so many tiles at once, made when they are first asked for."""
        if at_once not in self.packed:
            self.packed[at_once] = factors_of(self.weight, at_once)
        return self.packed[at_once]


class Chunk(NamedTuple):
    """Tiles that are computed at once: where their inputs are among all cells, which of these are beyond a border, and
    their outputs.
    """

    inputs: Tensor
    beyond: Tensor | None
    outputs: Tensor


def convolve(
    x: Tensor,
    filters: Filters,
    bias: Tensor | None = None,
    finish: Callable[[Tensor], Tensor] | None = None,
    channels: int | None = None,
) -> Tensor:
    """`finish(conv2d(x, weight, bias, padding=1))` of float32 tensors, without gradients.

    x: (N, C, H, W). bias: (K,). finish: a function of cells (..., K), such as an activation. channels: of what it
    returns (..., channels), if not K. Returns (N, channels, H, W), the channels of a cell together in memory.
    """
    n, _, h, w = x.shape
    high = tile_rows(n, h, w)
    result = by_tiles(x, filters, bias, finish, channels or len(filters.weight), high)
    result = result.narrow(2, 0, min(h, high * SIDE))[..., :w]
    if result.shape[2] < h:
        rest = F.conv2d(x[:, :, high * SIDE - 1 :], filters.weight, bias, padding=1)[:, :, 1:]
        rest = finish(rest.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) if finish else rest
        result = torch.cat([result, rest], dim=2)
    return result.contiguous(memory_format=torch.channels_last)


def by_tiles(
    x: Tensor,
    filters: Filters,
    bias: Tensor | None,
    finish: Callable[[Tensor], Tensor] | None,
    channels: int,
    high: int,
) -> Tensor:
    """What `convolve` returns for the first `high` rows of tiles, and for all cells of these tiles."""
    n, c, h, w = x.shape
    k, wide = len(filters.weight), tiles_along(w)
    cells, result = x.permute(0, 2, 3, 1).reshape(-1, c), x.new_empty(n * high * wide * SIDE**2, channels)
    count = at_once(c * k, n * high * wide)
    into, back = (matrix.expand(count, -1, -1) for matrix in transforms())
    gathered, factors = x.new_zeros(count * READ**2, c), x.new_empty(count, READ**2, c)
    outputs, shift = x.new_empty(count, SIDE**2, k), None if bias is None else torch.outer(shifts(), bias).flatten()
    packed = filters.for_tiles(count)
    for chunk in chunks(n, h, w, high, count):
        gather(cells, chunk, gathered)
        torch.bmm(into, gathered.view(factors.shape), out=factors)
        torch.bmm(back, multiply(factors, packed, shift), out=outputs)
        final = outputs if finish is None else finish(outputs)
        result.index_copy_(0, chunk.outputs, final.view(-1, channels)[: len(chunk.outputs)])
    return result.view(n, high * SIDE, wide * SIDE, channels).permute(0, 3, 1, 2)


def at_once(pairs: int, tiles: int) -> int:
    """How many of so many tiles are computed at once, for so many pairs of channels."""
    few, many = (-(-tiles // count) * count for count in (FEW, MANY))
    return MANY if pairs >= LARGE_FILTERS and many <= MORE_TILES * few else FEW


def tile_rows(count: int, height: int, width: int) -> int:
    """Rows of tiles that are computed of `count` maps of this size: all, or all but the last one.

    Its outputs that are within the map are computed directly where that takes less than the chunks that it would add.
    """
    rows = tiles_along(height)
    saved = chunks_of(count, rows, width) - chunks_of(count, rows - 1, width)
    directly = count * width * (height - SIDE * (rows - 1) + 1)
    return rows - 1 if rows > 1 and saved * FEW * SIDE**2 > DIRECTLY * directly else rows


def chunks_of(count: int, rows: int, width: int) -> int:
    """How many chunks of few tiles the first `rows` rows of tiles of `count` maps of this width take."""
    return -(-count * rows * tiles_along(width) // FEW)


def tiles_along(length: int) -> int:
    """Tiles that cover a line of so many outputs."""
    return -(-length // SIDE)


def gather(cells: Tensor, chunk: Chunk, out: Tensor) -> None:
    """The cells (all, C) that the tiles of a chunk read, zeros beyond the border, to the start of (T * 36, C)."""
    torch.index_select(cells, 0, chunk.inputs, out=out[: len(chunk.inputs)])
    if chunk.beyond is not None:
        out.index_fill_(0, chunk.beyond, 0)


def multiply(factors: Tensor, packed: Tensor, shift: Tensor | None) -> Tensor:
    """The factors (T, 36, C) of tiles times those of the filters, plus a shift (36 * K,): (T, 36, K)."""
    count = len(factors)
    line = factors.view(1, count, 1, -1).permute(0, 3, 1, 2)
    products = torch.ops.mkldnn._convolution_pointwise(line, packed, shift, *GEOMETRY, "none", [], "")
    return products.permute(0, 2, 3, 1).view(count, READ**2, -1)


def pack(weight: Tensor) -> Filters:
    """Filters (K, C, 3, 3) for as many threads as there are now, whatever becomes of the weight."""
    return Filters(weight.detach().clone(), torch.get_num_threads())


def factors_of(weight: Tensor, tiles: int) -> Tensor:
    """The factors (36 * K, C, 1, 1) of filters (K, C, 3, 3), as oneDNN wants them for so many tiles at once."""
    k, c = weight.shape[:2]
    factors = torch.mm(filter_transform(), weight.reshape(k * c, 9).T).view(-1, c, 1, 1)
    packed: Tensor = torch.ops.mkldnn._reorder_convolution_weight(factors, *GEOMETRY, [1, READ**2 * c, tiles, 1])
    return packed


@lru_cache(maxsize=1)
def available() -> bool:
    """Whether this PyTorch has the operators that this needs, which are not public, and they do what they should.

    A small convolution is computed to see it.
    """
    if not has_onednn():
        return False
    with CPU:
        x, bias = torch.linspace(-1, 1, 16 * 36).view(1, 16, 6, 6), torch.linspace(-1, 1, 16)
        weight = torch.linspace(-1, 1, 16 * 16 * 9).view(16, 16, 3, 3)
    try:
        result = convolve(x, pack(weight), bias)
    except (AttributeError, RuntimeError, TypeError):
        return False
    return torch.allclose(result, torch.conv2d(x, weight, bias, padding=1), atol=1e-4)


@lru_cache(maxsize=8)
def chunks(count: int, height: int, width: int, high: int, tiles: int) -> tuple[Chunk, ...]:
    """The tiles of `count` maps of this size, the first `high` rows of them, in order, so many at once."""
    wide = tiles_along(width)
    with CPU:
        (rows, row_beyond), (columns, column_beyond) = windows(height, high), windows(width, wide)
        inputs = grid(count, rows, columns, (height, width)).int()
        rows, columns = (SIDE * torch.arange(along)[:, None] + torch.arange(SIDE) for along in (high, wide))
        outputs = grid(count, rows, columns, (high * SIDE, wide * SIDE))
    beyond = (row_beyond[:, None, :, None] | column_beyond[:, None]).flatten(2).flatten(0, 1).repeat(count, 1)
    parts = zip(inputs.split(tiles), beyond.split(tiles), outputs.split(tiles))
    return tuple(Chunk(reads.flatten(), places(outside), writes.flatten()) for reads, outside, writes in parts)


def windows(length: int, tiles: int) -> tuple[Tensor, Tensor]:
    """(tiles, 6) positions along a line that each tile reads, the nearest one for those beyond an end, and whether."""
    positions = SIDE * torch.arange(tiles)[:, None] + torch.arange(READ) - 1
    return positions.clamp(0, length - 1), (positions < 0) | (positions >= length)


def grid(count: int, rows: Tensor, columns: Tensor, size: tuple[int, int]) -> Tensor:
    """(tiles, cells) places in `count` maps of `size` (h, w), from the rows and columns (tiles, cells) of tiles."""
    images = torch.arange(count)[:, None, None, None, None]
    cells = (images * size[0] + rows[:, None, :, None]) * size[1] + columns[:, None]
    return cells.flatten(3).flatten(0, 2)


def places(mask: Tensor) -> Tensor | None:
    """Where a mask is true, counted in order; None if it is nowhere."""
    return mask.flatten().nonzero().flatten() if mask.any() else None


@lru_cache(maxsize=1)
def transforms() -> tuple[Tensor, Tensor]:
    """(36, 36) from the inputs of a tile, row by row, to their factors, and (16, 36) from products to the outputs."""
    inputs = torch.stack([polynomial([q for q in POINTS if q != p]) for p in (*POINTS, None)])
    return twice(inputs), twice(with_infinity(SIDE).T)


@lru_cache(maxsize=1)
def shifts() -> Tensor:
    """(36,): products of a tile that give 1 for each of its outputs, the smallest such numbers."""
    along = torch.linalg.pinv(with_infinity(SIDE).T).sum(dim=1)
    return twice(along[:, None]).flatten()


@lru_cache(maxsize=1)
def filter_transform() -> Tensor:
    """(36, 9): from a filter, row by row, to the factors of a tile."""
    lengths = [math.prod(p - q for q in POINTS if q != p) for p in POINTS]
    return twice(with_infinity(3) / torch.tensor([*lengths, 1], dtype=torch.float64, device=CPU)[:, None])


def with_infinity(count: int) -> Tensor:
    """(6, count): the points to the power of 0, 1, and so on; of the point at infinity, only the last power counts."""
    powers = [[point**i for i in range(count)] for point in POINTS]
    return torch.tensor([*powers, [0] * (count - 1) + [1]], dtype=torch.float64, device=CPU)


def polynomial(roots: Sequence[float]) -> Tensor:
    """The six coefficients of the product of all x - root, the constant one first."""
    result = [1.0] + [0.0] * (READ - 1)
    for root in roots:
        result = [higher - root * own for higher, own in zip([0.0, *result], result)]
    return torch.tensor(result, dtype=torch.float64, device=CPU)


def twice(along: Tensor) -> Tensor:
    """A transform along a line as one of a square, whose cells come row by row."""
    return torch.kron(along, along).float()
