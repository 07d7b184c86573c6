"""Ways to make a network faster, applied to a copy of it."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.speed.options import Options
from zoo.errors import UsageError
from zoo.models.fuse import fuse_conv_bn

# The parts that are pure tensor functions of fixed structure; selection and NMS depend on the data and stay eager.
COMPILED = ("backbone", "neck", "rpn_head", "bbox_head", "mask_head")


def apply(model: nn.Module, options: Options) -> nn.Module:
    """A copy of `model` with the options on, `model` itself if there are none. UsageError where one does nothing."""
    if not options.chosen():
        return model
    model = copy.deepcopy(model)
    if options.fuse_conv_bn and fuse_conv_bn(model) == 0:
        raise UsageError("--fuse-conv-bn: this network has no batch norm that follows a convolution.")
    if options.channels_last:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if options.amp:
        keep_heads_in_float32(model)
    if options.compile:
        for part in compiled_parts(model):
            part.compile()
    return model


def compiled_parts(model: nn.Module) -> list[nn.Module]:
    """What `--compile` compiles: of a cascade each stage's head on its own."""
    result = [getattr(model, name, None) for name in COMPILED]
    result += [getattr(getattr(model, "roi_head", None), name, None) for name in ("bbox_head", "mask_head")]
    parts = [part for part in result if part is not None]
    return [one for part in parts for one in (part if isinstance(part, nn.ModuleList) else [part])]


def keep_heads_in_float32(model: nn.Module) -> None:
    """Let heads hand on float32: coordinates of some hundred pixels do not fit into 8 bits of mantissa."""
    for name, module in model.named_modules():
        if "_head" in name.split(".")[-1] or (module is not model and hasattr(module, "predict")):
            module.register_forward_hook(lambda module, inputs, output: to_float32(output))


def to_float32(value: Any) -> Any:
    """Nested tensors with half-precision ones widened."""
    if isinstance(value, Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, dict):
        return {key: to_float32(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(to_float32(item) for item in value)
    return value
