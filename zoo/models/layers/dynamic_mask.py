"""Masks by convolutions whose weights a network predicts for each instance (Tian et al., CondInst, 2020, section 3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# Distances from an instance's prior are measured in so many of its strides.
REACH = 8


class DynamicMask:
    """A few 1x1 convolutions with ReLU between them, over an image's features and the distance from the instance.

    features: channels of the features. channels: between the layers. layers: how many; the last one has one channel.
    count: numbers that describe the convolutions of one instance, the weights of all layers before their biases.
    """

    def __init__(self, features: int, channels: int = 8, layers: int = 3) -> None:
        self.inputs = [features + 2] + [channels] * (layers - 1)
        self.outputs = [channels] * (layers - 1) + [1]
        self.weights = [before * after for before, after in zip(self.inputs, self.outputs)]
        self.count = sum(self.weights) + sum(self.outputs)

    def __call__(
        self, features: Tensor, parameters: Tensor, priors: Tensor, points: Tensor, reach: float = REACH
    ) -> Tensor:
        """Mask logits (K, H, W) of one image's instances.

        features: (C, H, W). parameters: (K, count). priors: (K, 4), x, y and strides in pixels, where the instances
        were predicted. points: (H * W, 2 or more), x, y of the features' cells.
        """
        count, (height, width) = parameters.shape[0], features.shape[1:]
        distance = (priors[:, None, :2] - points[None, :, :2]).transpose(1, 2) / (priors[:, 2, None, None] * reach)
        x = torch.cat([distance.reshape(count, 2, height, width), features.expand(count, *features.shape)], dim=1)
        x = x.reshape(count, self.inputs[0], height * width)  # an exported graph may have no instances
        pieces = parameters.split(self.weights + self.outputs, dim=1)
        last = len(self.weights) - 1
        for i, (weight, bias) in enumerate(zip(pieces, pieces[last + 1 :])):
            x = torch.baddbmm(bias[:, :, None], weight.reshape(count, self.outputs[i], self.inputs[i]), x)
            x = x if i == last else F.relu(x)
        return x.reshape(count, height, width)
