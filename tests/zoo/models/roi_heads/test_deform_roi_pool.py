"""Deformable pooling of regions against its definition."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torchvision.ops import roi_align

from zoo.models.roi_heads.deform_roi_pool import DeformRoIPoolPack, ModulatedDeformRoIPoolPack, deform_roi_pool
from zoo.models.roi_heads.extractor import SingleRoIExtractor


def definition(x: Tensor, rois: Tensor, offsets: Tensor, size: int, scale: float, gamma: float) -> Tensor:
    """One bin and sample at a time (Dai et al., equations 5 and 6)."""
    out = x.new_zeros(len(rois), x.shape[1], size, size)
    for m, (image, *box) in enumerate(rois.tolist()):
        left, top, right, bottom = (v * scale - 0.5 for v in box)
        width, height = right - left, bottom - top
        nx, ny = max(math.ceil(width / size), 0), max(math.ceil(height / size), 0)
        for i in range(size):
            for j in range(size):
                x0 = left + j * width / size + gamma * width * offsets[m, 0, i, j].item()
                y0 = top + i * height / size + gamma * height * offsets[m, 1, i, j].item()
                for a in range(ny):
                    for b in range(nx):
                        px, py = x0 + (b + 0.5) * width / size / nx, y0 + (a + 0.5) * height / size / ny
                        out[m, :, i, j] += bilinear(x[int(image)], py, px) / (nx * ny)
    return out


def bilinear(x: Tensor, row: float, column: float) -> Tensor:
    """A sample (C,) of a map (C, H, W); the border counts up to one cell outside."""
    height, width = x.shape[1:]
    if not (-1 <= row <= height and -1 <= column <= width):
        return x.new_zeros(len(x))
    row, column = min(max(row, 0), height - 1), min(max(column, 0), width - 1)
    top, left = int(row), int(column)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    v, u = row - top, column - left
    upper = x[:, top, left] * (1 - u) + x[:, top, right] * u
    return upper * (1 - v) + (x[:, bottom, left] * (1 - u) + x[:, bottom, right] * u) * v


def example() -> tuple[Tensor, Tensor]:
    """Features of two images, and regions, one of them with bins of a whole number of cells."""
    torch.manual_seed(0)
    rois = [[0, 3.3, 5.1, 40.2, 61.7], [1, 0, 0, 84, 56], [1, 50.5, 20.25, 130.0, 66.0], [0, 10.0, 10.0, 10.5, 11.0]]
    return torch.randn(2, 3, 20, 24), torch.tensor(rois)


def test_moved_bins_equal_the_definition() -> None:
    x, rois = example()
    offsets = torch.randn(len(rois), 2, 7, 7)
    expected = definition(x.double(), rois.double(), offsets, 7, 0.25, 0.1)
    torch.testing.assert_close(deform_roi_pool(x, rois, offsets, (7, 7), 0.25).double(), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_unmoved_bins_are_roi_align(sampling_ratio: int) -> None:
    x, rois = example()
    pooled = deform_roi_pool(x, rois, torch.zeros(len(rois), 2, 7, 7), (7, 7), 0.25, sampling_ratio)
    expected = roi_align(x, rois, (7, 7), 0.25, sampling_ratio, aligned=True)
    torch.testing.assert_close(pooled, expected, atol=1e-4, rtol=1e-4)


def test_a_bin_of_whole_cells_far_from_the_corner_has_as_many_samples_as_roi_align() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 2, 200, 340)
    left = torch.arange(0, 250, 0.37)
    rois = torch.stack([left * 0, left, left, left + 42, left + 21], dim=1)
    rois[:, 1:] = rois[:, 1:].clamp(max=199)
    pooled = deform_roi_pool(x, rois, torch.zeros(len(rois), 2, 7, 7), (7, 7))
    expected = roi_align(x, rois, (7, 7), 1.0, 0, aligned=True)
    assert ((pooled - expected).abs().amax(dim=(1, 2, 3)) > 1e-3).float().mean() < 0.02


@pytest.mark.parametrize("layer", [DeformRoIPoolPack, ModulatedDeformRoIPoolPack])
def test_a_fresh_layer_moves_nothing_and_takes_no_regions(layer: type) -> None:
    x, rois = example()
    pool = layer(7, 3, deform_fc_channels=8, spatial_scale=0.25)
    expected = roi_align(x, rois, (7, 7), 0.25, 0, aligned=True) * (1 if layer is DeformRoIPoolPack else 0.5)
    torch.testing.assert_close(pool(x, rois), expected, atol=1e-4, rtol=1e-4)
    assert pool(x, rois[:0]).shape == (0, 3, 7, 7)


@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_training_samples_the_features_that_inference_pools(sampling_ratio: int) -> None:
    x, rois = example()
    offsets = torch.randn(len(rois), 2, 7, 7)
    pooled = deform_roi_pool(x, rois, offsets, (7, 7), 0.25, sampling_ratio)
    sampled = deform_roi_pool(x, rois, offsets.requires_grad_(), (7, 7), 0.25, sampling_ratio)
    torch.testing.assert_close(sampled.detach(), pooled, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_offsets_and_features_have_the_gradient_of_the_operator(sampling_ratio: int) -> None:
    x, rois = example()
    x, rois = x[:, :2, :9, :11].double().requires_grad_(), rois[:3].double() / 2
    offsets = torch.randn(len(rois), 2, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda a, b: deform_roi_pool(a, rois, b, (2, 2), 0.25, sampling_ratio), (x, offsets)
    )


@pytest.mark.parametrize("kind", ["DeformRoIPoolPack", "ModulatedDeformRoIPoolPack"])
def test_every_parameter_of_the_extractor_learns(kind: str) -> None:
    layer = {"type": kind, "output_size": 2, "output_channels": 2, "deform_fc_channels": 4}
    extractor = SingleRoIExtractor(layer, 2, [4, 8]).double()
    torch.manual_seed(0)
    for parameter in extractor.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    x = [torch.randn(1, 2, 9, 11, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    rois = torch.tensor([[0, 3.3, 5.1, 30.2, 31.7], [0, 1.0, 2.0, 18.0, 16.5]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda *maps: extractor(maps, rois), x)
    extractor(x, rois).sum().backward()
    assert all(p.grad is not None for p in extractor.parameters())  # also those of the level without regions
    assert all(p.grad.any() for p in extractor.roi_layers[0].parameters())
