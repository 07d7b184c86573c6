"""The cells that searched pyramids are made of."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from zoo.models.layers.merge_cells import MergeCell, resize


def test_a_map_shrinks_by_the_maximum_of_equal_cells():
    x = torch.rand(1, 2, 8, 12)
    torch.testing.assert_close(resize(x, (4, 4)), F.max_pool2d(x, (2, 3)))


def test_a_map_that_does_not_divide_is_padded_with_zeros_around_its_middle():
    x = torch.rand(1, 1, 7, 7)
    expected = F.max_pool2d(F.pad(x, (0, 1, 0, 1)), 2)
    torch.testing.assert_close(resize(x, (4, 4)), expected)


def test_a_map_grows_by_its_nearest_cells():
    x = torch.rand(1, 1, 2, 2)
    torch.testing.assert_close(resize(x, (4, 4)), x.repeat_interleave(2, 2).repeat_interleave(2, 3))


def test_global_pooling_scales_the_first_map_by_the_attention_of_the_second():
    first, second = torch.rand(1, 4, 6, 6), torch.rand(1, 4, 6, 6)
    cell = MergeCell(4, "global_pool", out_conv=None)
    attention = second.mean(dim=(2, 3), keepdim=True).sigmoid()
    torch.testing.assert_close(cell(first, second), second + attention * first)
