"""Region masks pasted into images."""

from __future__ import annotations

import pytest
import torch

from zoo.models.layers import masks
from zoo.models.layers.masks import paste_masks, paste_together

BOXES = torch.tensor(
    [
        [3.2, 4.7, 20.1, 18.3],
        [-8.0, -3.5, 12.5, 9.25],  # reaches out of the image
        [25.0, 10.0, 90.0, 60.0],
        [5.0, 5.0, 5.0, 12.0],  # no width
        [9.5, 7.5, 9.5, 7.5],  # a point in the center of a pixel
        [100.0, 100.0, 120.0, 130.0],  # outside
    ]
)


@pytest.mark.parametrize("most", [1, 2 * 30 * 40, 2**24])
def test_masks_pasted_together_are_those_pasted_one_by_one(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Also for boxes that are degenerate or leave the image, in parts of any size."""
    monkeypatch.setattr(masks, "MOST_PIXELS", most)
    probabilities, size = torch.rand(len(BOXES), 28, 28), (30, 40)
    want = paste_masks(probabilities, BOXES, size)
    around = torch.cat([(BOXES[:, :2].floor() - 1).clamp(min=0), BOXES[:, 2:].ceil() + 1], dim=1)
    assert torch.equal(paste_together(probabilities, BOXES, around, size, 0.5), want)
    assert want[0].any() and want[1].any() and not want[5].any()


def test_no_masks_are_pasted_as_none() -> None:
    empty = torch.empty(0, 28, 28), torch.empty(0, 4), torch.empty(0, 4), (30, 40), 0.5
    assert paste_together(*empty).shape == (0, 30, 40) and paste_together(*empty).dtype == torch.bool
