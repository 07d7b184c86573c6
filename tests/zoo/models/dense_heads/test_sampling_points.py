"""Where deformable heads look."""

from __future__ import annotations

import torch

from zoo.models.dense_heads.tood import aligned, geometric_mean
from zoo.models.dense_heads.vfnet import star_offsets
from zoo.models.layers.deform_conv import kernel_elements
from zoo.models.necks.dyhead import reread


def test_a_star_is_the_outline_and_center_of_its_box():
    left, top, right, bottom = 1.0, 2.0, 3.0, 4.0
    distances = torch.tensor([left, top, right, bottom]).view(1, 4, 1, 1)
    points = (star_offsets(distances) + kernel_elements(3, distances)).view(9, 2).tolist()
    assert points == [[y, x] for y in (-top, 0.0, bottom) for x in (-left, 0.0, right)]


def test_sides_move_to_where_their_offsets_point():
    boxes = torch.arange(2 * 4 * 3 * 3).float().view(2, 4, 3, 3)
    boxes[:, 2:] += 100
    offsets = torch.zeros(2, 8, 3, 3)
    offsets[:, 1] = 1.0  # the left side comes from the cell to the right
    moved = aligned(boxes, offsets)
    torch.testing.assert_close(moved[:, 0, :, :2], boxes[:, 0, :, 1:])
    torch.testing.assert_close(moved[:, 1:], boxes[:, 1:])


def test_a_box_that_would_turn_inside_out_stays():
    boxes = torch.tensor([0.0, 0.0, 1.0, 1.0]).view(1, 4, 1, 1).repeat(1, 1, 1, 2)
    boxes[0, 0, 0, 1], boxes[0, 2, 0, 1] = 5.0, 9.0
    offsets = torch.zeros(1, 8, 1, 2)
    offsets[0, 1, 0, 0] = 1.0
    torch.testing.assert_close(aligned(boxes, offsets)[..., 0], boxes[..., 0])


def test_the_geometric_mean_has_a_gradient_where_both_scores_vanish():
    a, b = (torch.full((1,), -80.0, requires_grad=True) for _ in range(2))
    geometric_mean(a, b).backward()
    assert a.grad is not None and a.grad.isfinite().all()


def test_rereading_keeps_each_images_first_values():
    x = torch.arange(2 * 3 * 4 * 4).float().view(2, 3, 4, 4)
    small = reread(x, (2, 2))
    assert small.shape == (2, 3, 2, 2)
    torch.testing.assert_close(small[1].flatten(), x[1].flatten()[:12])
    assert reread(x, (4, 4)) is x
