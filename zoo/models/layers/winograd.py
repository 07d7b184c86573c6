"""3x3 convolutions on a CPU by fewer multiplications: Winograd's minimal filtering, F(4x4, 3x3).

A tile of 4 x 4 outputs takes 36 multiplications per pair of channels instead of 144 (Lavin and Gray, Fast Algorithms
for Convolutional Neural Networks, 2016). Before and after, a small matrix combines the cells of each tile. All of this
is done for 64 tiles at a time, so that they stay in a cache. The 36 products of matrices are one convolution in 36
groups, for which oneDNN lays out the filters once (`pack`). The result differs from the exact one as much as that of
oneDNN's convolution does, which adds up nine times as many numbers per output.

A cell that is no number shows in all outputs of the tiles that read it, up to four cells away instead of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

SIDE, READ = 4, 6
"""Outputs along a side of a tile, and the inputs that they need."""

AT_ONCE = 64
"""Tiles that are computed at once. The packed filters are for just so many; for others oneDNN may lay them out anew in
every call, which takes longer than the convolution."""

POINTS = (0, 3 / 4, -3 / 4, 3 / 2, -3 / 2)
"""Where the polynomials of the method are evaluated, besides infinity. Their powers are exact in float32, and of the
points that were tried rounding grows least with these; with the usual 0, 1, -1, 2, -2 three to four times as much."""

GEOMETRY = ([0, 0], [1, 1], [1, 1], READ**2)
"""Padding, stride, dilation and groups of the convolution that computes the products."""


class Filters(NamedTuple):
    """Filters that are ready for use.

    weight: a copy of the (K, C, 3, 3) that they were made of. packed: the factors (36 * K, C, 1, 1) as oneDNN lays them
    out for so many threads.
    """

    weight: Tensor
    packed: Tensor
    threads: int

    def are_for(self, weight: Tensor) -> bool:
        """Whether they were made of these numbers, for as many threads as there are now."""
        alike = self.threads == torch.get_num_threads() and self.weight.stride() == weight.stride()
        return alike and torch.equal(self.weight, weight)


class Chunk(NamedTuple):
    """Up to 64 tiles: where their inputs are among all cells, which of these are beyond a border, and their outputs."""

    inputs: Tensor
    beyond: Tensor | None
    outputs: Tensor


def convolve(x: Tensor, filters: Filters, bias: Tensor | None = None) -> Tensor:
    """`conv2d(x, weight, bias, padding=1)` of float32 tensors, without gradients.

    x: (N, C, H, W). bias: (K,). Returns (N, K, H, W), the channels of a cell together in memory.
    """
    n, c, h, w = x.shape
    k, high, wide = len(filters.weight), tiles_along(h), tiles_along(w)
    cells, result = x.permute(0, 2, 3, 1).reshape(-1, c), x.new_empty(n * high * wide * SIDE**2, k)
    into, back = (matrix.expand(AT_ONCE, -1, -1) for matrix in transforms())
    gathered, factors = x.new_zeros(AT_ONCE * READ**2, c), x.new_empty(AT_ONCE, READ**2, c)
    outputs = x.new_empty(AT_ONCE, SIDE**2, k)
    for chunk in chunks(n, h, w):
        gather(cells, chunk, gathered)
        torch.bmm(into, gathered.view(factors.shape), out=factors)
        torch.bmm(back, multiply(factors, filters.packed), out=outputs)
        if bias is not None:
            outputs += bias
        result.index_copy_(0, chunk.outputs, outputs.view(-1, k)[: len(chunk.outputs)])
    return result.view(n, high * SIDE, wide * SIDE, k)[:, :h, :w].contiguous().permute(0, 3, 1, 2)


def tiles_along(length: int) -> int:
    """Tiles that cover a line of so many outputs."""
    return -(-length // SIDE)


def gather(cells: Tensor, chunk: Chunk, out: Tensor) -> None:
    """The cells (all, C) that the tiles of a chunk read, zeros beyond the border, to the start of (64 * 36, C)."""
    torch.index_select(cells, 0, chunk.inputs, out=out[: len(chunk.inputs)])
    if chunk.beyond is not None:
        out.index_fill_(0, chunk.beyond, 0)


def multiply(factors: Tensor, packed: Tensor) -> Tensor:
    """The factors (64, 36, C) of tiles times those of the filters: (64, 36, K)."""
    line = factors.view(1, AT_ONCE, 1, -1).permute(0, 3, 1, 2)
    products = torch.ops.mkldnn._convolution_pointwise(line, packed, None, *GEOMETRY, "none", [], "")
    return products.permute(0, 2, 3, 1).view(AT_ONCE, READ**2, -1)


def pack(weight: Tensor) -> Filters:
    """The factors of filters (K, C, 3, 3), as oneDNN wants them on so many threads as there are now."""
    k, c = weight.shape[:2]
    factors = torch.mm(filter_transform(), weight.reshape(k * c, 9).T).view(-1, c, 1, 1)
    packed = torch.ops.mkldnn._reorder_convolution_weight(factors, *GEOMETRY, [1, READ**2 * c, AT_ONCE, 1])
    return Filters(weight.detach().clone(), packed, torch.get_num_threads())


@lru_cache(maxsize=1)
def available() -> bool:
    """Whether this PyTorch has the operators that this needs, which are not public, and they do what they should.

    A small convolution is computed to see it.
    """
    if not has_onednn():
        return False
    x, weight = torch.linspace(-1, 1, 16 * 36).view(1, 16, 6, 6), torch.linspace(-1, 1, 16 * 16 * 9).view(16, 16, 3, 3)
    try:
        result = convolve(x, pack(weight))
    except (AttributeError, RuntimeError, TypeError):
        return False
    return torch.allclose(result, torch.conv2d(x, weight, padding=1), atol=1e-4)


def has_onednn() -> bool:
    """Whether oneDNN computes convolutions, on a processor where it was measured: x86 with AVX2 or more."""
    return torch.backends.mkldnn.is_available() and torch.backends.cpu.get_cpu_capability().startswith("AVX")


@lru_cache(maxsize=8)
def chunks(count: int, height: int, width: int) -> tuple[Chunk, ...]:
    """All tiles of `count` maps of this size, in order."""
    (rows, row_beyond), (columns, column_beyond) = windows(height), windows(width)
    inputs = grid(count, rows, columns, (height, width)).int()
    beyond = (row_beyond[:, None, :, None] | column_beyond[:, None]).flatten(2).flatten(0, 1).repeat(count, 1)
    corners = torch.arange(SIDE)
    rows, columns = (SIDE * torch.arange(tiles_along(length))[:, None] + corners for length in (height, width))
    outputs = grid(count, rows, columns, (rows.numel(), columns.numel()))
    parts = zip(inputs.split(AT_ONCE), beyond.split(AT_ONCE), outputs.split(AT_ONCE))
    return tuple(Chunk(reads.flatten(), places(outside), writes.flatten()) for reads, outside, writes in parts)


def windows(length: int) -> tuple[Tensor, Tensor]:
    """(tiles, 6) positions along a line that each tile reads, the nearest one for those beyond an end, and whether."""
    positions = SIDE * torch.arange(tiles_along(length))[:, None] + torch.arange(READ) - 1
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
    back = torch.cat([powers(SIDE).T, torch.eye(SIDE, dtype=torch.float64)[:, -1:]], dim=1)
    inputs = torch.stack([polynomial([q for q in POINTS if q != p]) for p in (*POINTS, None)])
    return twice(inputs), twice(back)


@lru_cache(maxsize=1)
def filter_transform() -> Tensor:
    """(36, 9): from a filter, row by row, to the factors of a tile."""
    points = powers(2)[:, 1]
    lengths = (points[:, None] - points).fill_diagonal_(1).prod(dim=1)
    return twice(torch.cat([powers(3) / lengths[:, None], torch.eye(3, dtype=torch.float64)[-1:]]))


def powers(count: int) -> Tensor:
    """(5, count): the points to the power of 0, 1, and so on."""
    return torch.tensor([[point**i for i in range(count)] for point in POINTS], dtype=torch.float64)


def polynomial(roots: Sequence[float]) -> Tensor:
    """The six coefficients of the product of all x - root, the constant one first."""
    result = torch.zeros(READ, dtype=torch.float64)
    result[0] = 1
    for root in roots:
        result = result.roll(1) - root * result
    return result


def twice(along: Tensor) -> Tensor:
    """A transform along a line as one of a square, whose cells come row by row."""
    return torch.kron(along, along).float()
