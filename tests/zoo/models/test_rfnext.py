from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import zoo
from zoo.loading import set_receptive_fields
from zoo.manifest import api
from zoo.models.rfnext import BranchedConv, dilate


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3, stride=2, padding=1))


def test_searched_dilations_keep_the_maps_size_and_the_names():
    plain, searched = network(), network()
    dilate(searched, {"0": 3})
    assert (searched[0].dilation, searched[1].dilation, searched[2].dilation) == ((3, 3), (1, 1), (1, 1))
    x = torch.randn(1, 3, 16, 16)
    assert searched(x).shape == plain(x).shape
    assert plain.state_dict().keys() == searched.state_dict().keys()


@torch.no_grad()
def test_branches_share_a_kernel_and_are_summed_by_their_weights():
    conv, x = nn.Conv2d(3, 4, 3, padding=2, dilation=2), torch.randn(1, 3, 12, 12)
    branched = BranchedConv(conv)
    branched.branch_weights.copy_(torch.tensor([-1.0, 3.0]))
    want = [F.conv2d(x, conv.weight, conv.bias, 1, d, d) for d in (1, 3)]
    assert torch.allclose(branched(x), 0.25 * want[0] + 0.75 * want[1], atol=1e-5)


def test_skipped_convolutions_stay_as_they_are():
    model = nn.ModuleDict({"stem": network(), "rest": network()})
    dilate(model, {"stem.0": 2, "rest.0": 2}, skip=["stem"], branches=2)
    assert type(model["stem"][0]) is nn.Conv2d
    kept = {f"{i}.{part}" for i in ("0.op_layer", "1", "2.op_layer") for part in ("weight", "bias")}
    assert set(model["rest"].state_dict()) == kept | {"0.branch_weights", "2.branch_weights"}


@pytest.mark.parametrize("branches", [1, 2])
def test_published_searches_name_convolutions_of_their_network(branches):
    name = (
        "rfnext_search_mask_rcnn_pvtv2-b0_fpn_1x_coco"
        if branches == 2
        else ("rfnext_fixed_single_branch_mask_rcnn_pvtv2-b0_fpn_1x_coco")
    )
    model, fields = zoo.build(name), api.get(name).receptive_fields
    convolutions = {n for n, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    assert fields.dilations.keys() <= convolutions and fields.branches == branches
    set_receptive_fields(model, name)
    searched = [m for m in model.modules() if isinstance(m, BranchedConv)]
    assert len(searched) == (21 if branches == 2 else 0)  # so many convolutions took part in that search
