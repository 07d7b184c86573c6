"""DetectoRS's backbones: switchable atrous convolutions, and feedback from the pyramid (Qiao et al., 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from zoo.models.backbones.residual import Bottleneck
from zoo.models.backbones.resnet import ResNet, plan


class FeedbackBottleneck(Bottleneck):
    """A bottleneck that may add features of the pyramid, with `rfp_inplanes` channels, in front of its last ReLU."""

    def __init__(self, *args: Any, rfp_inplanes: int | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.rfp_conv = None
        if rfp_inplanes:
            self.rfp_conv = nn.Conv2d(rfp_inplanes, self.conv3.out_channels, 1)
            self.start_neutral()

    def start_neutral(self) -> None:
        """Feedback has no effect at first."""
        if self.rfp_conv is not None:
            nn.init.zeros_(self.rfp_conv.weight)
            nn.init.zeros_(self.rfp_conv.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, feedback: Tensor | None = None) -> Tensor:
        """(N, inplanes, H, W) to (N, planes * 4, H / stride, W / stride).

        feedback: (N, rfp_inplanes, H / stride, W / stride).
        """
        if feedback is None or self.rfp_conv is None:
            return super().forward(x)
        return self.relu(self.combined(x) + self.rfp_conv(feedback))


BLOCKS = {
    50: (FeedbackBottleneck, (3, 4, 6, 3)),
    101: (FeedbackBottleneck, (3, 4, 23, 3)),
    152: (FeedbackBottleneck, (3, 8, 36, 3)),
}


class DetectoRSResNet(ResNet):
    """ResNet or ResNeXt for `RFP`.

    sac: description of the switchable atrous convolution that replaces the 3x3 convolutions in the stages that
    `stage_with_sac` tells. rfp_inplanes: channels of the feedback, which all stages but the first take. output_img: the
    image itself is the first output. The other arguments are those of `ResNet`.
    """

    def __init__(
        self,
        depth: int,
        sac: Mapping[str, Any] | None = None,
        stage_with_sac: Sequence[bool] = (False, False, False, False),
        rfp_inplanes: int | None = None,
        output_img: bool = False,
        num_stages: int = 4,
        base_channels: int = 64,
        groups: int = 1,
        base_width: int = 4,
        **kwargs: Any,
    ) -> None:
        stages = plan(BLOCKS, depth, num_stages, base_channels, groups=groups, base_width=base_width)
        for i, stage in enumerate(stages):
            middle = {"dcn": sac} if sac and stage_with_sac[i] else {}
            first = {"rfp_inplanes": rfp_inplanes} if i > 0 else {}
            stages[i] = replace(stage, options={**stage.options, **middle}, first=first)
        super().__init__(depth, base_channels=base_channels, stages=stages, **kwargs)
        self.output_img = output_img

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) to feature maps (N, C_i, H / s_i, W / s_i), finest first; with `output_img`, `x` before them."""
        maps = super().forward(x)
        return (x, *maps) if self.output_img else maps

    def look_again(self, x: Tensor, feedback: Sequence[Tensor | None]) -> tuple[Tensor, ...]:
        """The feature maps, without the image. feedback: per stage (N, rfp_inplanes, H / s_i, W / s_i)."""
        x, outputs = self.run_stem(x), []
        for i, name in enumerate(self.stage_names):
            for block in getattr(self, name):
                x = block(x, feedback[i])
            if i in self.out_indices:
                outputs.append(x)
        return tuple(outputs)
