"""Every operation of a network while it runs: which layer, how long, how many operations and bytes; and live memory."""

from __future__ import annotations

import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import conv_flop_count, flop_registry

aten = torch.ops.aten
# oneDNN's convolution with what follows it; the second writes over a map, its first argument.
ONEDNN = ("_convolution_pointwise", "_convolution_pointwise_")
PRODUCTS = ("mm", "addmm", "bmm", "baddbmm")
# Operations that read only some of their first tensor: as much as they write.
CHOOSING = ("index", "index_select", "gather", "embedding_bag", "_embedding_bag", "_embedding_bag_forward_only")
# Operations that write only some of their first tensor: as many places as their index has.
FILLING = ("index_copy_", "index_fill_")
FREE = ("empty", "new_empty", "empty_like", "empty_strided", "_local_scalar_dense", "lift_fresh", "detach", "alias")


@dataclass
class Operation:
    """One call. kind: whose peak counts, None where only bytes do. size: bytes read and written."""

    layer: str
    name: str
    kind: str | None
    flops: float
    size: float
    seconds: float


@dataclass(eq=False)
class Trace(TorchDispatchMode):
    """The operations in order. live, peak: bytes of tensors that exist, made while it watched."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    operations: list[Operation] = field(default_factory=list)
    layers: list[str] = field(default_factory=list)
    live: int = 0
    peak: int = 0

    def __post_init__(self) -> None:
        super().__init__()
        self.known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run and time one operation."""
        kwargs = kwargs or {}
        if func not in flop_registry and func.overloadpacket not in flop_registry:
            with self:  # a convolution or a linear layer is told by what it consists of
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        self.wait()
        start = time.perf_counter()
        result = func(*args, **kwargs)
        self.wait()
        seconds = time.perf_counter() - start
        name = func.overloadpacket.__name__
        if not func.is_view and name not in FREE:
            layer = self.layers[-1] if self.layers else ""
            kind, flops = counted(func, name, args, kwargs, result)
            self.operations.append(Operation(layer, name, kind, flops, moved(name, args, kwargs, result), seconds))
        for tensor in tensors(result):
            self.keep(tensor)
        return result

    def wait(self) -> None:
        """Until the device is idle."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def keep(self, tensor: Tensor) -> None:
        """Count a tensor's memory until it is freed, unless only oneDNN knows it: filters that stay."""
        if tensor.is_mkldnn:
            return
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self.known or tensor.device.type != self.device.type:
            return
        self.known.add(key)
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self.forget, key, size)

    def forget(self, key: int, size: int) -> None:
        """A tensor's memory was freed."""
        self.known.discard(key)
        self.live -= size


def counted(func: Any, name: str, args: Any, kwargs: Mapping[str, Any], result: Any) -> tuple[str | None, float]:
    """The kind of an operation and its floating-point operations; (None, 0) for what only moves bytes."""
    if name in ONEDNN:
        x, weight, groups = (*args[:2], args[6]) if name == ONEDNN[0] else (*args[1:3], args[7])
        depthwise = groups > 1 and weight.shape[1] == 1
        return "depthwise" if depthwise else "convolution", float(conv_flop_count(x.shape, weight.shape, result.shape))
    if func.overloadpacket not in flop_registry:
        return None, 0.0
    flops = float(flop_registry[func.overloadpacket](*args, **kwargs, out_val=result))
    if name in PRODUCTS:
        return "product", flops
    groups = args[8] if name == "convolution" and len(args) > 8 else 1
    # PyTorch's counter takes the weight's own shape, which has the channels of one group.
    return ("depthwise" if groups > 1 and args[1].shape[1] == 1 else "convolution"), flops


def moved(name: str, args: Any, kwargs: Mapping[str, Any], result: Any) -> float:
    """Bytes that an operation must read and write, each tensor once."""
    written = sum(size(tensor) for tensor in tensors(result))
    given = tensors((args, dict(kwargs)))
    if name in FILLING:
        target, dim, index = args[:3]
        filled = size(target) * len(index) / target.shape[dim]
        return filled + size(index) + sum(size(tensor) for tensor in tensors(args[3:]))
    if name in CHOOSING:
        return written + sum(size(tensor) for tensor in given[1:]) + written
    return written + sum({id(tensor): size(tensor) for tensor in given}.values())


def size(tensor: Tensor) -> float:
    """Bytes of a tensor's elements; those that it repeats count once."""
    if tensor.is_mkldnn:
        return float(tensor.numel() * tensor.element_size())
    count = 1
    for length, step in zip(tensor.shape, tensor.stride()):
        count *= length if step else 1
    return float(count * tensor.element_size())


def tensors(value: Any) -> list[Tensor]:
    """The tensors in nested values."""
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]


@contextmanager
def watched(model: nn.Module, device: torch.device) -> Iterator[Trace]:
    """Trace what runs in the block, by the names of `model`'s layers."""
    names = {module: name for name, module in model.named_modules()}
    trace = Trace(device=device)

    def enter(module: nn.Module, inputs: Any) -> None:
        trace.layers.append(names.get(module, trace.layers[-1] if trace.layers else ""))

    def leave(module: nn.Module, inputs: Any, outputs: Any) -> None:
        trace.layers.pop()

    handles = [register_module_forward_pre_hook(enter), register_module_forward_hook(leave)]
    try:
        with trace:
            yield trace
    finally:
        for handle in handles:
            handle.remove()
