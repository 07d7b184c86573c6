"""Features at points of maps and regions."""

from __future__ import annotations

import torch

from zoo.models.layers.points import cell_centers, sample_points, sample_regions


def test_centers_of_the_cells_give_the_cells() -> None:
    x = torch.randn(1, 3, 4, 5)
    sampled = sample_points(x, cell_centers((4, 5), "cpu")[None])
    torch.testing.assert_close(sampled.view(1, 3, 4, 5), x)


def test_a_region_of_the_whole_image_samples_the_whole_map() -> None:
    x = torch.randn(2, 3, 4, 5)
    rois = torch.tensor([[1.0, 0, 0, 40, 32], [0.0, 0, 0, 40, 32]])
    sampled = sample_regions(x, rois, cell_centers((4, 5), "cpu").expand(2, -1, 2), stride=8)
    torch.testing.assert_close(sampled.view(2, 3, 4, 5), x[[1, 0]], atol=1e-5, rtol=1e-5)
