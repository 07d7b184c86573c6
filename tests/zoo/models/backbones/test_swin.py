from __future__ import annotations

import torch

from zoo.models.backbones.swin import ShiftWindowMSA, partition, relative_position_index, unpartition


def obvious(layer: ShiftWindowMSA, x: torch.Tensor) -> torch.Tensor:
    """Pixel by pixel: attention to those that share the window of the shifted grid, for one head and one image.

    A map that windows do not divide is padded with zero tokens, which take part; windows that the shift tears apart at
    the border are separate windows.
    """
    size, shift, msa = layer.window_size, layer.shift_size, layer.w_msa
    height, width = (-(-n // size) * size for n in x.shape[1:3])
    padded = torch.zeros(height, width, x.shape[3])
    padded[: x.shape[1], : x.shape[2]] = x[0]
    q, k, v = msa.qkv(padded).chunk(3, dim=-1)
    window = [[(n + size - shift) // size if shift else n // size for n in range(side)] for side in (height, width)]
    out = torch.zeros_like(padded)
    for y in range(height):
        for i in range(width):
            inside = [(r, c) for r in range(height) for c in range(width)]
            inside = [(r, c) for r, c in inside if window[0][r] == window[0][y] and window[1][c] == window[1][i]]
            rows = [(y - r + size - 1) * (2 * size - 1) + i - c + size - 1 for r, c in inside]
            energy = torch.stack([q[y, i] @ k[r, c] for r, c in inside]) / q.shape[-1] ** 0.5
            weight = (energy + msa.relative_position_bias_table[rows, 0]).softmax(0)
            out[y, i] = sum(w * v[r, c] for w, (r, c) in zip(weight, inside))
    return msa.proj(out)[None, : x.shape[1], : x.shape[2]]


@torch.no_grad()
def test_window_attention_is_its_definition():
    torch.manual_seed(0)
    for shift in (0, 2):
        layer, x = ShiftWindowMSA(6, 1, 4, shift), torch.randn(1, 8, 10, 6)
        torch.nn.init.normal_(layer.w_msa.relative_position_bias_table)
        assert torch.allclose(layer(x), obvious(layer, x), atol=1e-5)


def test_windows_come_apart_and_together_again():
    x = torch.randn(2, 8, 12, 3)
    assert torch.equal(unpartition(partition(x, 4), 4, 8, 12), x)


def test_the_bias_table_is_indexed_by_distance():
    index = relative_position_index(2)
    # Pixels in reading order: (0, 0), (0, 1), (1, 0), (1, 1); the table in reading order of distances -1, 0, 1.
    assert index.tolist() == [[4, 3, 1, 0], [5, 4, 2, 1], [7, 6, 4, 3], [8, 7, 5, 4]]
