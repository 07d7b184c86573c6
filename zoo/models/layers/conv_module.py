"""A convolution with its normalization and activation, the brick that most necks and heads are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from zoo.models.layers.activation import make_activation
from zoo.models.layers.conv import make_conv
from zoo.models.layers.norm import make_norm
from zoo.models.layers.steps import activated

RELU = {"type": "ReLU"}
USUAL_ORDER = ("conv", "norm", "act")


class ConvModule(nn.Module):
    """Convolution, normalization and activation in a given order.

    norm_cfg, act_cfg: descriptions, or None to leave the step out. bias: "auto" means only without normalization.
    order: a permutation of ("conv", "norm", "act"); normalization in front of the convolution has its input channels.
    State: `conv.*` and the normalization under its usual name (`bn.*`, `gn.*`).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool | str = "auto",
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] | None = None,
        act_cfg: Mapping[str, Any] | None = RELU,
        inplace: bool = True,
        order: Sequence[str] = USUAL_ORDER,
    ) -> None:
        super().__init__()
        self.order = tuple(order)
        with_bias = norm_cfg is None if bias == "auto" else bool(bias)
        self.conv = make_conv(
            conv_cfg,
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            bias=with_bias,
        )
        self.norm_name: str | None = None
        if norm_cfg is not None:
            after = self.order.index("norm") > self.order.index("conv")
            directly = self.order.index("norm") == self.order.index("conv") + 1
            self.norm_name, norm = make_norm(norm_cfg, out_channels if after else in_channels, inplace=directly)
            self.add_module(self.norm_name, norm)
        self.activate = make_activation(act_cfg, inplace) if act_cfg is not None else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H', W')."""
        if self.order == USUAL_ORDER and self.activate is not None:
            return activated(self.conv, self.norm, self.activate, x)
        for step in self.order:
            if step == "conv":
                x = self.conv(x)
            elif step == "norm" and self.norm is not None:
                x = self.norm(x)
            elif step == "act" and self.activate is not None:
                x = self.activate(x)
        return x

    @property
    def norm(self) -> nn.Module | None:
        """The normalization, whatever its name is."""
        return None if self.norm_name is None else getattr(self, self.norm_name)


class DepthwiseSeparableConv(nn.Module):
    """A depthwise and a pointwise `ConvModule` (Howard et al., MobileNets, 2017).

    The arguments are those of `ConvModule` and apply to both parts.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        norm_cfg: Mapping[str, Any] | None = None,
        act_cfg: Mapping[str, Any] | None = RELU,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        common: dict[str, Any] = {"norm_cfg": norm_cfg, "act_cfg": act_cfg, **kwargs}
        self.depthwise_conv = ConvModule(
            in_channels, in_channels, kernel_size, stride, padding, dilation, groups=in_channels, **common
        )
        self.pointwise_conv = ConvModule(in_channels, out_channels, 1, **common)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H', W')."""
        return self.pointwise_conv(self.depthwise_conv(x))
