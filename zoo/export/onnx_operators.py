"""Operators that PyTorch's exporter does not know how to write."""

from __future__ import annotations

from typing import Any

import torch
from torch.onnx import symbolic_helper

# The first version of ONNX with deformable convolutions.
OPSET = 19


def register_operators() -> None:
    """Make the exporter know them; more than one call does no harm."""
    torch.onnx.register_custom_op_symbolic("torchvision::deform_conv2d", deform_conv2d, OPSET)


@symbolic_helper.parse_args("v", "v", "v", "v", "v", "i", "i", "i", "i", "i", "i", "i", "i", "b")
def deform_conv2d(
    graph: Any,
    x: Any,
    weight: Any,
    offset: Any,
    mask: Any,
    bias: Any,
    stride_y: int,
    stride_x: int,
    pad_y: int,
    pad_x: int,
    dilation_y: int,
    dilation_x: int,
    groups: int,
    offset_groups: int,
    use_mask: bool,
) -> Any:
    """`torchvision.ops.deform_conv2d` as ONNX's DeformConv, whose offsets are laid out in the same way."""
    inputs = [x, weight, offset, bias, *([mask] if use_mask else [])]
    return graph.op(
        "DeformConv",
        *inputs,
        kernel_shape_i=symbolic_helper._get_tensor_sizes(weight)[2:],
        strides_i=[stride_y, stride_x],
        pads_i=[pad_y, pad_x, pad_y, pad_x],
        dilations_i=[dilation_y, dilation_x],
        group_i=groups,
        offset_group_i=offset_groups,
    )
