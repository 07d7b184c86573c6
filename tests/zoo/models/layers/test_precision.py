from __future__ import annotations

import torch

from zoo.models.layers.precision import full_precision


def test_every_floating_point_output_becomes_float32_and_nothing_else_changes():
    half, mask = torch.ones(2, dtype=torch.bfloat16), torch.ones(2, dtype=torch.bool)
    maps, rest = full_precision(([half, half.half()], {"mask": mask, "boxes": half, "none": None}))
    assert [x.dtype for x in maps] == [torch.float32] * 2
    assert rest["boxes"].dtype == torch.float32 and rest["mask"] is mask and rest["none"] is None
