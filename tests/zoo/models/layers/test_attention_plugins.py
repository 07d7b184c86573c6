from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from zoo.errors import BuildError
from zoo.models.layers.context_block import ContextBlock
from zoo.models.layers.generalized_attention import GeneralizedAttention


def obvious(layer: GeneralizedAttention, x: Tensor, flags: str) -> Tensor:
    """The definition (equations 3 to 7 of the paper), one query, head and key after the other, for one image."""
    keys, (height, width) = x[:, :, :: layer.kv_stride, :: layer.kv_stride], x.shape[2:]
    heads, c = layer.num_heads, layer.head_channels
    query = layer.query_conv(x)[0] if "1" in flags[:2] else None
    key = layer.key_conv(keys)[0] if flags[0] == "1" or flags[2] == "1" else None
    value, out = layer.value_conv(keys)[0], torch.zeros(heads * c, height, width)
    wave = 1000 ** (2 / layer.position_channels * torch.arange(layer.position_channels // 2))

    def position(linear: torch.nn.Linear, distance: float) -> Tensor:
        return linear(torch.cat(((distance / wave).sin(), (distance / wave).cos()))) / math.sqrt(2)

    for h, y, i in torch.cartesian_prod(*map(torch.arange, (heads, height, width))).tolist():
        part = slice(h * c, (h + 1) * c)
        energy = torch.zeros(keys.shape[2:])
        for ky, kx in torch.cartesian_prod(*map(torch.arange, keys.shape[2:])).tolist():
            if "1" in (flags[1], flags[3]):
                across = position(layer.appr_geom_fc_x, i - kx * layer.kv_stride)[part]
                down = position(layer.appr_geom_fc_y, y - ky * layer.kv_stride)[part]
            terms = []
            if flags[0] == "1":
                terms.append(query[part, y, i] @ key[part, ky, kx])
            if flags[1] == "1":
                terms.append(query[part, y, i] @ (across + down))
            if flags[2] == "1":
                terms.append(layer.appr_bias[part] @ key[part, ky, kx])
            if flags[3] == "1":
                terms.append(layer.geom_bias[part] @ (across + down))
            energy[ky, kx] = sum(terms)
        out[part, y, i] = value[part].flatten(1) @ energy.flatten().softmax(0)
    return layer.gamma * layer.proj_conv(out[None]) + x


@pytest.mark.parametrize("flags", ["1111", "0010", "0001", "1000", "1001", "0011", "0101"])
@torch.no_grad()
def test_generalized_attention_is_its_definition(flags):
    torch.manual_seed(0)
    layer, x = GeneralizedAttention(8, num_heads=2, kv_stride=2, attention_type=flags), torch.randn(1, 8, 3, 4)
    layer.gamma.fill_(0.7)
    assert torch.allclose(layer(x), obvious(layer, x, flags), atol=1e-5)


def test_a_limited_range_is_refused():
    with pytest.raises(BuildError, match="spatial_range"):
        GeneralizedAttention(8, spatial_range=3, num_heads=2)


@pytest.mark.parametrize("pooling_type", ["att", "avg"])
@torch.no_grad()
def test_a_context_block_adds_one_vector_per_image(pooling_type):
    block, x = ContextBlock(8, 0.5, pooling_type, ("channel_add", "channel_mul")), torch.randn(2, 8, 3, 4)
    assert torch.allclose(block(x), x / 2)  # at first: factors of sigmoid(0), nothing added
    block.channel_mul_conv = None
    torch.nn.init.normal_(block.channel_add_conv[-1].weight)
    weight = torch.full((2, 12), 1 / 12)
    if pooling_type == "att":
        weight = block.conv_mask(x).view(2, 12).softmax(1)
    context = (x.flatten(2) * weight[:, None]).sum(2)[..., None, None]
    assert torch.allclose(block(x), x + block.channel_add_conv(context), atol=1e-5)
