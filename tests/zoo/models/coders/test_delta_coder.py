from __future__ import annotations

import pytest
import torch

from zoo.models.coders.delta import DeltaXYWHCoder


@pytest.mark.parametrize("width", [4, 320])
def test_no_priors_give_no_boxes(width):
    boxes = DeltaXYWHCoder().decode(torch.zeros(0, 4), torch.zeros(0, width), size=(10, 10))
    assert boxes.shape == (0, width)
