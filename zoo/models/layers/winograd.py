"""3x3 convolutions on a CPU by fewer multiplications: Winograd's minimal filtering, F(4x4, 3x3).

A tile of 4 x 4 outputs takes 36 multiplications per pair of channels instead of 144 (Lavin and Gray, Fast Algorithms
for Convolutional Neural Networks, 2016). Before and after, a small matrix combines the cells of each tile; that is done
for some tiles at a time, so that they stay in a cache. The result differs from the exact one as much as that of
oneDNN's convolution does, which adds up nine times as many numbers per output.

A cell that is no number shows in all outputs of the tiles that read it, up to four cells away instead of one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from zoo.models.layers.cpu_choices import NUMBERS_AT_ONCE

SIDE, READ = 4, 6
"""Outputs along a side of a tile, and the inputs that they need."""

POINTS = (0, 3 / 4, -3 / 4, 3 / 2, -3 / 2)
"""Where the polynomials of the method are evaluated, besides infinity. Their powers are exact in float32, and of the
points that were tried rounding grows least with these; with the usual 0, 1, -1, 2, -2 three to four times as much."""


class Part(NamedTuple):
    """Images and rows of tiles that are computed at once."""

    images: slice
    first: int
    rows: int


class Buffers(NamedTuple):
    """Memory for one part, used again for the next.

    cells (n, h, w, C): the inputs with a border. first: the inputs of each tile (36, T, C), later the products with the
    filters (36, T, K). second: the factors (36, T, C) made of the inputs, later the outputs (16, T, K).
    """

    cells: Tensor
    first: Tensor
    second: Tensor


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`conv2d(x, weight, bias, padding=1)` of float32 tensors, without gradients.

    x: (N, C, H, W). weight: (K, C, 3, 3). bias: (K,). Returns (N, K, H, W), the channels of a cell together in memory.
    """
    n, c, h, w = x.shape
    k, high, wide = len(weight), -(-h // SIDE), -(-w // SIDE)
    filters, cells = transform_filters(weight), x.permute(0, 2, 3, 1)
    result = x.new_empty(n, high, SIDE, wide, SIDE, k)
    buffers: Buffers | None = None
    for part in parts(n, high, wide, c + k):
        if buffers is None or buffers.cells.shape[:2] != padded(part):
            buffers = allocate(part, x, k)
        fill(buffers.cells, cells[part.images], part.first * SIDE - 1)
        target = result[part.images, part.first : part.first + part.rows]
        computed = compute(buffers, filters).view(SIDE, SIDE, len(target), part.rows, wide, k).permute(2, 3, 0, 4, 1, 5)
        target.copy_(computed) if bias is None else torch.add(computed, bias, out=target)
    return result.view(n, high * SIDE, wide * SIDE, k)[:, :h, :w].contiguous().permute(0, 3, 1, 2)


def parts(count: int, rows: int, columns: int, channels: int) -> Iterator[Part]:
    """Split `count` images of `rows` x `columns` tiles: several images, or some rows of one, of about equal size.

    channels: of a tile's inputs and outputs together.
    """
    tiles = max(1, NUMBERS_AT_ONCE // (READ**2 * channels))
    images = max(1, tiles // (rows * columns))
    pieces = -(-rows // max(1, tiles // columns))
    height = -(-rows // pieces)
    for start in range(0, count, images):
        for first in range(0, rows, height):
            yield Part(slice(start, min(start + images, count)), first, min(height, rows - first))


def padded(part: Part) -> tuple[int, int]:
    """The images of a part and the rows of cells that its tiles read."""
    return part.images.stop - part.images.start, SIDE * part.rows + READ - SIDE


def allocate(part: Part, x: Tensor, filters: int) -> Buffers:
    """Memory for parts like this one. The cells are zero, and stay so at the left and right border."""
    (n, height), channels, columns = padded(part), x.shape[1], -(-x.shape[3] // SIDE)
    tiles = n * part.rows * columns
    return Buffers(
        x.new_zeros(n, height, SIDE * columns + READ - SIDE, channels),
        x.new_empty(READ**2 * tiles * max(channels, filters)),
        x.new_empty(tiles * max(READ**2 * channels, SIDE**2 * filters)),
    )


def fill(cells: Tensor, source: Tensor, top: int) -> None:
    """Copy rows of `source` (n, H, W, C) from row `top` on into `cells` (n, h, w, C), from column 1 on.

    Rows outside the source become zero.
    """
    above, end = max(0, -top), min(cells.shape[1], source.shape[1] - top)
    cells[:, :above] = 0
    cells[:, above:end, 1 : source.shape[2] + 1] = source[:, top + above : top + end]
    cells[:, end:] = 0


def compute(buffers: Buffers, filters: Tensor) -> Tensor:
    """The outputs (16, T, K) of all tiles of the cells in `buffers`. filters: (36, C, K)."""
    inputs, back = transforms()
    tiles = buffers.cells.unfold(1, READ, SIDE).unfold(2, READ, SIDE).permute(4, 5, 0, 1, 2, 3)
    gathered = start_of(buffers.first, tiles.shape).copy_(tiles).view(READ**2, -1)
    factors = torch.mm(inputs, gathered, out=start_of(buffers.second, gathered.shape)).view(
        READ**2, -1, filters.shape[1]
    )
    shape = (READ**2, factors.shape[1], filters.shape[2])
    products = torch.bmm(factors, filters, out=start_of(buffers.first, shape)).flatten(1)
    return torch.mm(back, products, out=start_of(buffers.second, (SIDE**2, products.shape[1])))


def start_of(memory: Tensor, shape: Sequence[int]) -> Tensor:
    """A tensor at the start of a line of memory."""
    return memory[: prod(shape)].view(shape)


def transform_filters(weight: Tensor) -> Tensor:
    """(K, C, 3, 3) to the factors (36, C, K) of its tiles."""
    k, c = weight.shape[:2]
    factors = torch.mm(filter_transform(), weight.reshape(k * c, 9).T)
    return factors.view(READ**2, k, c).transpose(1, 2)


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
