"""Predictors on unit vectors."""

from __future__ import annotations

import torch

from zoo.models.layers.normed import NormedConv2d, NormedLinear


def test_outputs_are_cosines_times_the_temperature() -> None:
    layer, x = NormedLinear(8, 3, tempearture=20), torch.randn(5, 8)
    cosine = torch.cosine_similarity(x[:, None], layer.weight[None], dim=-1)
    torch.testing.assert_close(layer(x), 20 * cosine + layer.bias, atol=1e-4, rtol=1e-4)


def test_a_convolution_of_one_pixel_is_the_linear_layer() -> None:
    conv, linear = NormedConv2d(8, 3, 1), NormedLinear(8, 3)
    linear.load_state_dict({"weight": conv.weight.flatten(1), "bias": conv.bias})
    x = torch.randn(5, 8)
    torch.testing.assert_close(conv(x[:, :, None, None])[..., 0, 0], linear(x))
