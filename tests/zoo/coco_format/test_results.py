"""Masks as run lengths."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from zoo.coco_format.results import encode_masks
from zoo.coco_format.segmentation import area, decode, problem, run_lengths


def test_masks_survive_run_length_encoding() -> None:
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand((20, 13, 17), generator=generator) > torch.linspace(0, 1, 20)[:, None, None]
    masks[3], masks[4] = False, True
    masks[5, :, :9] = False
    masks[6], masks[6, :, 4:9] = False, True
    masks[7], masks[7, 5:, 4], masks[7, :, 5], masks[7, :3, 6] = False, True, True, True
    for mask, rle in zip(masks, encode_masks(masks)):
        expected = coco_mask.encode(np.asfortranarray(mask.numpy().astype(np.uint8)))
        assert rle == {"size": [13, 17], "counts": expected["counts"].decode()}


def test_run_lengths_as_numbers_and_as_text_are_the_same_mask() -> None:
    masks = torch.rand((8, 11, 70), generator=torch.Generator().manual_seed(1)) > 0.7
    for mask, rle in zip(masks, encode_masks(masks)):
        runs = run_lengths(rle["counts"])
        assert runs is not None and runs.sum() == mask.numel()
        for counts in (rle["counts"], runs.tolist()):
            segmentation = {"size": [11, 70], "counts": counts}
            assert problem(segmentation, 11, 70) is None
            assert (decode(segmentation, 11, 70) == mask.numpy()).all()
        assert area(rle) == mask.sum()


@pytest.mark.parametrize("counts", [[3, -1], [0.5, 1.5], [5], "~", "", 7, None])
def test_run_lengths_of_another_kind_or_size_are_a_problem(counts: object) -> None:
    assert problem({"size": [2, 2], "counts": counts}, 2, 2)
