"""VGG as SSD uses it (Simonyan and Zisserman, 2014; Liu et al., SSD, 2015)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from zoo.errors import BuildError
from zoo.models.layers.fast_conv import FastConv2d
from zoo.models.layers.steps import activated

# Depth -> 3x3 convolutions per stage.
STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
CHANNELS = (64, 128, 256, 512, 512)


class SSDVGG(nn.Module):
    """VGG without batch norm, and its fully connected layers as a dilated and a 1x1 convolution.

    ceil_mode: pooling rounds sizes up. with_last_pool: pool behind the fifth stage. out_feature_indices: which layers'
    outputs are returned, finest first. out_indices: stages, kept for descriptions that name them; it has no effect.
    """

    def __init__(
        self,
        depth: int,
        with_last_pool: bool = False,
        ceil_mode: bool = True,
        out_indices: Sequence[int] = (3, 4),
        out_feature_indices: Sequence[int] = (22, 34),
    ) -> None:
        super().__init__()
        if depth not in STAGES:
            raise BuildError(f"there is no VGG of depth {depth}; known: {', '.join(map(str, STAGES))}")
        self.out_feature_indices = tuple(out_feature_indices)
        layers: list[nn.Module] = []
        before = 3
        for count, channels in zip(STAGES[depth], CHANNELS):
            for _ in range(count):
                layers += [FastConv2d(before, channels, 3, padding=1), nn.ReLU(inplace=True)]
                before = channels
            layers.append(nn.MaxPool2d(2, stride=2, ceil_mode=ceil_mode))
        if not with_last_pool:
            layers.pop()
        layers += [nn.MaxPool2d(3, stride=1, padding=1), FastConv2d(before, 1024, 3, padding=6, dilation=6)]
        layers += [nn.ReLU(inplace=True), FastConv2d(1024, 1024, 1), nn.ReLU(inplace=True)]
        self.features = nn.Sequential(*layers)
        for layer in layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) to feature maps, finest first."""
        outputs = []
        following = [*self.features[1:], nn.Identity()]
        for i, (layer, after) in enumerate(zip(self.features, following)):
            if isinstance(after, nn.ReLU):
                x = activated(layer, None, after, x)
            elif not isinstance(layer, nn.ReLU):
                x = layer(x)
            if i in self.out_feature_indices:
                outputs.append(x)
        return tuple(outputs)
