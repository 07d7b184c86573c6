"""What CUDA's kernels refuse and wait for, and how a CPU computes what they do; see `pretended_device`."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

aten = torch.ops.aten
OURS = ("/zoo/", "/benchmarks/")  # frames that are named as locations
HALF = (torch.float16, torch.bfloat16)

# Operators that compute in half precision on CUDA and want all operands of one type.
PRODUCTS = {
    "convolution",
    "convolution_backward",
    "mm",
    "bmm",
    "addmm",
    "baddbmm",
    "addbmm",
    "mv",
    "dot",
    "addmv",
    "_convolution",
    "cudnn_convolution",
    "linear",
    "linear_backward",
}
# Pointwise operators in which a CPU scalar may meet CUDA tensors, beside those tagged as pointwise.
SCALARS = {
    "where",
    "masked_fill",
    "masked_fill_",
    "fill",
    "fill_",
    "index_put",
    "index_put_",
    "_index_put_impl_",
    "lerp",
    "lerp_",
}
# What makes the host wait, beside copies, masks as indices, and NMS, which reads its result's length.
WAITING = {
    "_local_scalar_dense": "item",
    "nonzero": "nonzero",
    "masked_select": "masked_select",
    "_unique2": "unique",
    "unique_dim": "unique",
    "unique_consecutive": "unique",
    "unique_dim_consecutive": "unique",
    "_unique": "unique",
    "equal": "equal",
    "is_nonzero": "item",
    "bincount": "bincount",
    "nms": "nms",
    "linalg_eigh": "linalg",
    "_linalg_eigh": "linalg",
    "_linalg_svd": "linalg",
    "linalg_lstsq": "linalg",
}
# Operators that have no CUDA kernel, or none for these types.
UNSUPPORTED = {"mkldnn_convolution", "mkldnn_linear", "quantile_cpu"}


def _cudnn_batch_norm(
    x: Tensor, weight: Tensor, bias: Any, mean: Any, var: Any, training: bool, factor: float, eps: float
) -> Any:
    result = aten.native_batch_norm(x, weight, bias, mean, var, training, factor, eps)
    return (*result, x.new_empty(0, dtype=torch.uint8))


def _cudnn_batch_norm_backward(
    x: Tensor, grad: Tensor, weight: Tensor, mean: Any, var: Any, own_mean: Any, own_var: Any, eps: float, _: Tensor
) -> Any:
    return aten.native_batch_norm_backward(grad, x, weight, mean, var, own_mean, own_var, True, eps, [True, True, True])


def _cudnn_grid_sampler(x: Tensor, grid: Tensor) -> Tensor:
    return aten.grid_sampler_2d(x, grid, 0, 0, True)


# Operators of CUDA alone, and what is the same on a CPU.
ON_CPU: dict[str, Any] = {
    "cudnn_batch_norm": _cudnn_batch_norm,
    "cudnn_batch_norm_backward": _cudnn_batch_norm_backward,
    "cudnn_grid_sampler": _cudnn_grid_sampler,
}


class DeviceFault(RuntimeError):
    """What a real CUDA device would refuse."""


def source_location() -> str:
    """The innermost frame of the project, as file:line function."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        for part in OURS:
            if part in name and "site-packages" not in name and "/benchmarks/perf/pretend" not in name:
                return f"{name[name.rindex(part) + 1 :]}:{frame.f_lineno} {frame.f_code.co_name}"
        frame = frame.f_back
    return "backward or outside"


def on_cuda(x: Any) -> bool:
    """Whether it is a tensor of the pretended device."""
    return isinstance(x, Tensor) and x.device.type == "cuda"


def fault(text: str) -> DeviceFault:
    return DeviceFault(f"{text} [{source_location()}]")


def compute(func: Any, name: str, args: Any, kwargs: dict[str, Any]) -> Any:
    """The operator on the CPU; products of half precision in float32, rounded at the end."""
    if name in ("_softmax_backward_data", "_log_softmax_backward_data"):
        return func(args[0].float(), args[1].float(), args[2], torch.float32).to(args[3])
    flat = [x for x in pytree.tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
    half = next((x.dtype for x in flat if x.dtype in HALF), None)
    schema = getattr(func, "_schema", None)
    if (
        half is None
        or (schema is not None and schema.is_mutable)
        or name in ("view", "clone", "detach", "alias", "_unsafe_view", "index", "slice", "cat")
    ):
        return func(*args, **kwargs)
    if name in ("_softmax", "_log_softmax") and args[2]:  # CUDA's also widens
        return func(args[0].float(), args[1], False)
    if name not in PRODUCTS:
        try:
            return func(*args, **kwargs)
        except (RuntimeError, NotImplementedError) as error:
            if "not implemented for" not in str(error) and "not supported" not in str(error):
                raise
    wide = pytree.tree_map_only(Tensor, lambda x: x.float() if x.dtype in HALF else x, (args, kwargs))
    result = func(*wide[0], **wide[1])
    return pytree.tree_map_only(Tensor, lambda x: x.to(half) if x.dtype == torch.float32 else x, result)


def check_devices(func: Any, name: str, args: Any, plain: list[Tensor]) -> None:
    """Raise where operands on different devices may not meet."""
    if name in ("index", "_unsafe_index"):
        if on_cuda(args[0]):
            return
        raise fault("indices should be either on cpu or on the same device as the indexed tensor (cpu)")
    if name in ("index_put", "index_put_", "_index_put_impl_", "_unsafe_index_put"):
        if not on_cuda(args[0]):
            raise fault(f"{name}: a CPU tensor is written to by CUDA indices or values")
        if not on_cuda(args[2]) and args[2].dim() > 0:
            raise fault(f"{name}: expected values on cuda:0, got a CPU tensor of shape {tuple(args[2].shape)}")
        return
    if name == "set_" or func is aten.is_same_size.default:
        return
    scalar = torch.Tag.pointwise in func.tags or name in SCALARS
    if scalar and all(x.dim() == 0 for x in plain):
        if func._schema.is_mutable and isinstance(args[0], Tensor) and not on_cuda(args[0]):
            raise fault(f"{name}: a CPU scalar cannot take a CUDA result")
        return
    shapes = [tuple(x.shape) for x in plain]
    raise fault(f"{name}: expected all tensors to be on the same device, found cuda:0 and cpu {shapes}")


def check_types(name: str, flat: list[Any]) -> None:
    """Raise where CUDA's (and mostly the CPU's) kernels want one type."""
    if name not in PRODUCTS:
        return
    types = {x.dtype for x in flat if isinstance(x, Tensor) and x.is_floating_point()}
    if len(types) > 1:
        raise fault(f"{name}: operands of {sorted(map(str, types))}")


def waits(func: Any, name: str, args: Any, kwargs: dict[str, Any], notes: Any) -> None:
    """Note an operator for which the host waits."""
    if name in WAITING:
        notes.note(WAITING[name])
    elif name in ("index", "_unsafe_index"):
        for index in args[1]:
            if index is None:
                continue
            if index.dtype in (torch.bool, torch.uint8):
                notes.note("mask as index")
            if not on_cuda(index):
                notes.note("host to device")
    elif name in ("index_put", "index_put_", "_index_put_impl_"):
        masks = [i for i in args[1] if i is not None and i.dtype in (torch.bool, torch.uint8)]
        value, accumulate = args[2], len(args) > 3 and args[3]
        filled = len(masks) == len([i for i in args[1] if i is not None]) == 1 and value.numel() == 1
        if masks and not (filled and not on_cuda(value) and not accumulate):
            notes.note("mask as index")
        for index in args[1]:
            if index is not None and not on_cuda(index):
                notes.note("host to device")
    elif name == "repeat_interleave" and kwargs.get("output_size") is None and on_cuda(args[0]):
        notes.note("repeat_interleave")
