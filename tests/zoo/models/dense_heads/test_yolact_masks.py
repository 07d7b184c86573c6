"""YOLACT's masks."""

from __future__ import annotations

import torch

from zoo.models.dense_heads.yolact_masks import YOLACTProtonet, crop
from zoo.structures import ImageGeometry


def test_a_mask_is_cut_one_cell_outside_its_box():
    masks, boxes = torch.ones(1, 10, 20), torch.tensor([[40.0, 20.0, 80.0, 60.0]])
    cut = crop(masks, boxes, size=(100, 200))[0]
    expected = torch.zeros(10, 20)
    expected[1:7, 3:9] = 1
    torch.testing.assert_close(cut, expected)


def test_masks_have_the_size_of_the_output_even_if_there_are_none():
    net = YOLACTProtonet(3, in_channels=4, proto_channels=(4, None, 2), proto_kernel_sizes=(3, -2, 1), num_protos=2)
    prototypes = net(torch.randn(1, 4, 6, 8))
    assert prototypes.shape == (1, 2, 12, 16)
    geometry = ImageGeometry(size=(48, 64), output_size=(96, 128), scale=(0.5, 0.5))
    for count in (0, 3):
        boxes = torch.tensor([[0.0, 0.0, 20.0, 20.0]]).repeat(count, 1)
        masks = net.masks(prototypes[0], torch.randn(count, 2), boxes, geometry)
        assert masks.shape == (count, 96, 128) and masks.dtype == torch.bool
